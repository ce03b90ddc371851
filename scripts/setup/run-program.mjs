import { existsSync, readdirSync } from "node:fs";
import { runForeground } from "./child.mjs";
import { ensureReady } from "./ensure-ready.mjs";

const usageError = 2;

/**
 * Runs one of a folder's programs after making the clone ready, or says which there are. `command`: the npm script that asks.
 * @param {{ folder: string, command: string, pattern: RegExp, fileOf: (name: string) => string }} programs
 * @param {readonly string[]} words the program's name, and its arguments
 * @returns {Promise<number>} its exit code
 */
export async function runProgram({ folder, command, pattern, fileOf }, [name = "", ...args]) {
  const files = existsSync(folder) ? readdirSync(folder) : [];
  const names = files.flatMap((file) => pattern.exec(file)?.[1] ?? []).filter((one) => existsSync(fileOf(one)));
  if (!names.includes(name)) {
    const there = names.sort().join(", ") || "none yet";
    process.stderr.write(`usage: npm run ${command} -- NAME [FLAGS]\nthere are: ${there}\n`);
    return usageError;
  }
  const node = await ensureReady({ bundles: [] });
  return runForeground(node, [fileOf(name), ...args]);
}
