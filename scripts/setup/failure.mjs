/**
 * What can go wrong while a clone is made ready, each with its own exit code (documented in docs/cli.md). The scripts run on
 * whatever Node the system has, so they are plain JavaScript and import nothing but Node.
 */

/** @type {Readonly<Record<string, number>>} */
export const setupExitCodes = Object.freeze({
  "node-too-old": 40,
  "npm-missing": 41,
  "node-api-too-old": 42,
  "no-disk-space": 43,
  "no-network": 44,
  "install-failed": 45,
  "no-compiler": 46,
  "native-build-failed": 47,
  "ui-build-failed": 48,
});

/** An expected failure: shown as one line that says what to do, never as a stack trace. */
export class SetupFailure extends Error {
  /** @override */
  name = "SetupFailure";

  /**
   * @param {string} code a key of `setupExitCodes`
   * @param {string} message what happened and what to do, in one line
   */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}
