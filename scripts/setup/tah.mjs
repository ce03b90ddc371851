import { join } from "node:path";
import { runForeground } from "./child.mjs";
import { ensureReady } from "./ensure-ready.mjs";
import { root } from "./folders.mjs";

/**
 * The command line, after making the clone ready. Only the command itself writes to standard output.
 * @param {readonly string[]} args
 * @param {readonly import("./bundles.mjs").Bundle[]} bundles what has to be built for them
 */
export async function runTah(args, bundles) {
  const node = await ensureReady({ bundles });
  return runForeground(node, [join(root, "src", "cli", "tah.ts"), ...args]);
}
