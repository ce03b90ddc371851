import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's root folder. */
export const root = fileURLToPath(new URL("../../", import.meta.url));

/** Stamps and logs of the set-up: what was made from which inputs. Safe to delete. */
export const stampFolder = join(root, ".setup");

/**
 * SHA-256 over the names and contents of files and of whole folders.
 * @param {readonly string[]} paths relative to the root; missing ones count as absent
 * @param {(path: string) => boolean} [matters] leaves files out by their relative path
 */
export function hashInputs(paths, matters = () => true) {
  const hash = createHash("sha256").update(process.version);
  for (const file of paths.flatMap((path) => filesUnder(join(root, path))).sort()) {
    const name = relative(root, file).split(sep).join("/");
    if (matters(name)) hash.update(`\0${name}\0`).update(readFileSync(file));
  }
  return hash.digest("hex");
}

/** @param {string} path @returns {string[]} */
function filesUnder(path) {
  if (!existsSync(path)) return [];
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path).flatMap((entry) => filesUnder(join(path, entry)));
}

/** @param {string} name @param {string} inputs */
export function stampMatches(name, inputs) {
  const file = join(stampFolder, name);
  return existsSync(file) && readFileSync(file, "utf8") === inputs;
}

/** @param {string} name @param {string} inputs */
export function writeStamp(name, inputs) {
  const file = join(stampFolder, name);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, inputs);
}
