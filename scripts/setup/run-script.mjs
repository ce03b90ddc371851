/**
 * The beginning of every script. A Node that is too old must read this file and those it imports, so it imports nothing that
 * such a Node lacks; a script imports all else in its main function, after the check.
 */
import { SetupFailure, setupExitCodes } from "./failure.mjs";

/** What the scripts themselves run on. */
const minimumMajor = 20;

/**
 * Runs a script's main function; the process ends with its result, or with the failure's exit code after one line about it and,
 * with `--json`, the same as an object on standard output, as `tah` has it.
 * @param {() => Promise<number>} main resolves with the exit code
 */
export async function runScript(main) {
  try {
    checkSystemNode();
    process.exitCode = await main();
  } catch (error) {
    if (!(error instanceof SetupFailure)) throw error;
    const { code, message } = error;
    if (process.argv.includes("--json")) {
      const failure = { code, message, action: "", retry: false };
      process.stdout.write(`${JSON.stringify({ failure })}\n`);
    }
    process.stderr.write(`train-at-home: ${message}\n`);
    process.exitCode = setupExitCodes[code];
  }
}

/** @throws SetupFailure when this script's own Node is too old to go on */
export function checkSystemNode(version = process.versions.node) {
  if (Number.parseInt(version, 10) >= minimumMajor) return;
  throw new SetupFailure(
    "node-too-old",
    `Node ${version} is too old: install Node ${minimumMajor} or newer from https://nodejs.org.`,
  );
}
