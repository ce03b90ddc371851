/**
 * Makes a clone ready to run: packages, Node 24, the native addon, the user interface. Every step is skipped when its inputs
 * have not changed, so a second start needs neither network nor time. This folder
 * runs on the system's Node and imports nothing but Node; build-native.mjs is the addon's part.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { buildNative } from "../build-native.mjs";
import { build, isBuilt, userInterface } from "./bundles.mjs";
import { checkDiskSpace, dependenciesMatchLock, installDependencies } from "./dependencies.mjs";
import { exclusively } from "./exclusive.mjs";
import { root } from "./folders.mjs";
import { findNode } from "./node-runtime.mjs";

const addonFile = join(root, "native-bridge", "build", "train-at-home-native.node");

/**
 * @typedef {object} SetupOptions
 * @property {readonly import("./bundles.mjs").Bundle[]} [bundles] what to build (default: the user interface)
 * @property {(line: string) => void} [report] gets one line per step that has work to do (default: standard error)
 */

/**
 * @param {SetupOptions} [options]
 * @returns {Promise<string>} the path of the Node binary that runs the product
 * @throws SetupFailure
 */
export async function ensureReady({ bundles = [userInterface], report = reportToStandardError } = {}) {
  return exclusively(report, async () => {
    if (!dependenciesMatchLock()) {
      checkDiskSpace();
      report("Installing packages from the npm registry (about half a minute) …");
      await installDependencies();
    }
    const node = await findNode();
    if (!existsSync(addonFile)) report("Compiling the native addon …");
    await buildNative({ quiet: true });
    for (const bundle of bundles) {
      if (isBuilt(bundle)) continue;
      checkDiskSpace();
      report(`Building ${bundle.label} …`);
      await build(bundle, node);
    }
    return node;
  });
}

/** @param {string} line */
function reportToStandardError(line) {
  process.stderr.write(`${line}\n`);
}
