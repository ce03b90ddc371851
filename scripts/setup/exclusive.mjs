import { mkdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SetupFailure } from "./failure.mjs";
import { stampFolder } from "./folders.mjs";

const pollIntervalMs = 200;
const refreshIntervalMs = 1_000;
/** A lock that was not refreshed for so long has no owner, even where its process id is another program's by now. */
const abandonedAfterMs = 10_000;

/**
 * Runs `work` while no other set-up of this clone runs; a lock left by a dead process is taken over.
 * @template T
 * @param {(line: string) => void} report
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 * @throws SetupFailure "no-disk-space" when the lock or anything in `work` finds the disk full
 */
export async function exclusively(report, work) {
  try {
    return await locked(join(stampFolder, "lock"), report, work);
  } catch (error) {
    if (errorCode(error) !== "ENOSPC") throw error;
    throw new SetupFailure("no-disk-space", "The disk is full: free 2 GB, then try again.");
  }
}

/**
 * @template T
 * @param {string} lock
 * @param {(line: string) => void} report
 * @param {() => Promise<T>} work
 */
async function locked(lock, report, work) {
  mkdirSync(stampFolder, { recursive: true });
  let announced = false;
  while (!take(lock)) {
    if (!announced) report("Waiting for another set-up of this folder …");
    announced = true;
    await new Promise((resolve) => setTimeout(resolve, pollIntervalMs));
  }
  const refreshing = setInterval(() => refresh(lock), refreshIntervalMs);
  try {
    return await work();
  } finally {
    clearInterval(refreshing);
    rmSync(lock, { force: true });
  }
}

/** @param {string} lock */
function take(lock) {
  try {
    writeFileSync(lock, String(process.pid), { flag: "wx" });
    return true;
  } catch (error) {
    if (errorCode(error) === "EEXIST") {
      if (isAbandoned(lock)) rmSync(lock, { force: true });
      return false;
    }
    // On a full disk the file is made, and nothing can be written to it.
    rmSync(lock, { force: true });
    throw error;
  }
}

/** @param {string} lock */
function refresh(lock) {
  const now = new Date();
  try {
    utimesSync(lock, now, now);
  } catch (error) {
    // Somebody has removed `.setup`, which is allowed: there is nothing left to refresh.
    if (errorCode(error) !== "ENOENT") throw error;
  }
}

/** @param {string} lock */
function isAbandoned(lock) {
  try {
    if (Math.abs(Date.now() - statSync(lock).mtimeMs) > abandonedAfterMs) return true;
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
