import { join } from "node:path";
import { electronShell, userInterface } from "./bundles.mjs";
import { runForeground } from "./child.mjs";
import { ensureReady } from "./ensure-ready.mjs";
import { root } from "./folders.mjs";

/** Commands that show the dashboard to a browser. */
const servesDashboard = new Set(["demo", "mine"]);

/**
 * The command line, after making the clone ready. Only the command itself writes to standard output.
 * @param {readonly string[]} args
 */
export async function runTah(args) {
  const node = await ensureReady({ bundles: bundlesFor(args) });
  return runForeground(node, [join(root, "src", "cli", "tah.ts"), ...args]);
}

/**
 * What has to be built for a command.
 * @param {readonly string[]} args
 */
export function bundlesFor(args) {
  if (!servesDashboard.has(args[0] ?? "")) return [];
  return args.includes("--open") ? [userInterface, electronShell] : [userInterface];
}
