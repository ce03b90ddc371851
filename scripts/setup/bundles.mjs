import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runCaptured } from "./child.mjs";
import { SetupFailure } from "./failure.mjs";
import { hashInputs, root, stampFolder, stampMatches, writeStamp } from "./folders.mjs";

/**
 * @typedef {object} Bundle something that Vite builds
 * @property {string} name of its stamp
 * @property {string} label in progress lines
 * @property {string} config
 * @property {readonly string[]} modes of the config, each built on its own
 * @property {readonly string[]} inputs
 * @property {readonly string[]} results files that must exist
 */

const shared = ["src/protocol", "package-lock.json", "tsconfig.json"];

/** @type {Bundle} */
export const userInterface = {
  name: "renderer",
  label: "the user interface",
  config: "vite.config.ts",
  modes: ["production"],
  inputs: ["src/renderer", "vite.config.ts", ...shared],
  results: ["dist/renderer/index.html"],
};

/** @type {Bundle} */
export const electronShell = {
  name: "shell",
  label: "the Electron shell",
  config: "vite.main.config.ts",
  modes: ["main", "preload"],
  inputs: ["src/main", "src/miner", "vite.main.config.ts", ...shared],
  results: ["dist/main/index.mjs", "dist/preload/index.cjs"],
};

/** The command line and the compute worker, as the packaged app has them. @type {Bundle} */
export const packagedDaemon = {
  name: "daemon",
  label: "the packaged daemon",
  config: "vite.main.config.ts",
  modes: ["daemon"],
  inputs: ["src/cli", "src/compute", "src/miner", "src/network", "src/transport", "vite.main.config.ts", ...shared],
  results: ["dist/daemon/tah.mjs", "dist/daemon/worker.mjs", "dist/daemon/os-secrets-process.mjs"],
};

/** @param {Bundle} bundle */
export function isBuilt(bundle) {
  return bundle.results.every((file) => existsSync(join(root, file))) && stampMatches(bundle.name, inputsOf(bundle));
}

/** @param {Bundle} bundle @param {string} node the Node that runs Vite */
export async function build(bundle, node) {
  const inputs = inputsOf(bundle);
  const vite = join(root, "node_modules", "vite", "bin", "vite.js");
  for (const mode of bundle.modes) {
    const args = ["build", "--config", bundle.config, "--mode", mode, "--logLevel", "warn"];
    const { code, output } = await runCaptured(node, [vite, ...args]);
    if (code === 0) continue;
    const log = join(stampFolder, `${bundle.name}-build.log`);
    writeFileSync(log, output);
    throw new SetupFailure("ui-build-failed", `Building ${bundle.label} failed: see ${log}.`);
  }
  writeStamp(bundle.name, inputs);
}

/** @param {Bundle} bundle */
function inputsOf(bundle) {
  return hashInputs(bundle.inputs, (file) => !/\.test\.tsx?$/.test(file));
}
