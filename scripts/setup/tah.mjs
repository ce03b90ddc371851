import { join } from "node:path";
import { runForeground } from "./child.mjs";
import { ensureReady } from "./ensure-ready.mjs";
import { root } from "./folders.mjs";

/**
 * The command line, after making the clone ready. Only the command itself writes to standard output.
 * @param {readonly string[]} args
 */
export async function runTah(args) {
  const node = await ensureReady();
  return runForeground(node, [join(root, "src", "cli", "tah.ts"), ...args]);
}
