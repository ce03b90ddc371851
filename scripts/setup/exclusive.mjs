import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stampFolder } from "./folders.mjs";

const pollIntervalMs = 200;

/**
 * Runs `work` while no other set-up of this clone runs; a lock left by a dead process is taken over.
 * @template T
 * @param {(line: string) => void} report
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function exclusively(report, work) {
  const lock = join(stampFolder, "lock");
  mkdirSync(stampFolder, { recursive: true });
  let announced = false;
  while (!take(lock)) {
    if (!announced) report("Waiting for another set-up of this folder …");
    announced = true;
    await new Promise((resolve) => setTimeout(resolve, pollIntervalMs));
  }
  try {
    return await work();
  } finally {
    rmSync(lock, { force: true });
  }
}

/** @param {string} lock */
function take(lock) {
  try {
    writeFileSync(lock, String(process.pid), { flag: "wx" });
    return true;
  } catch (error) {
    if (errorCode(error) !== "EEXIST") throw error;
    if (isAbandoned(lock)) rmSync(lock, { force: true });
    return false;
  }
}

/** @param {string} lock */
function isAbandoned(lock) {
  try {
    const owner = Number(readFileSync(lock, "utf8"));
    // Zero: its owner is about to write its process id.
    if (owner !== 0) process.kill(owner, 0);
    return false;
  } catch (error) {
    return errorCode(error) === "ESRCH";
  }
}

/** @param {unknown} error */
function errorCode(error) {
  return /** @type {NodeJS.ErrnoException} */ (error).code;
}
