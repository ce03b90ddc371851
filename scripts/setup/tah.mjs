import { join } from "node:path";
import { userInterface } from "./bundles.mjs";
import { runForeground } from "./child.mjs";
import { ensureReady } from "./ensure-ready.mjs";
import { root } from "./folders.mjs";

/**
 * The command line, after making the clone ready. Only the command itself writes to standard output.
 * @param {readonly string[]} args
 * @param {readonly import("./bundles.mjs").Bundle[]} [bundles]
 */
export async function runTah(args, bundles = [userInterface]) {
  const node = await ensureReady({ bundles });
  return runForeground(node, [join(root, "src", "cli", "tah.ts"), ...args]);
}
