/** Node's own import(), which Vitest replaces in the modules that it transforms; this file is loaded by Node itself. */
module.exports = (/** @type {string} */ specifier) => import(specifier);
