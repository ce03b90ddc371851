import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runCaptured } from "./child.mjs";
import { SetupFailure } from "./failure.mjs";
import { hashInputs, root, stampFolder, stampMatches, writeStamp } from "./folders.mjs";

/** @typedef {{ name: string, label: string, config: string, inputs: readonly string[], result: string }} Bundle */

const shared = ["src/protocol", "package-lock.json", "tsconfig.json"];

/** @type {Bundle} */
export const userInterface = {
  name: "renderer",
  label: "the user interface",
  config: "vite.config.ts",
  inputs: ["src/renderer", "vite.config.ts", ...shared],
  result: "dist/renderer/index.html",
};

/** What Electron and the packaged app need beyond it: main, preload, and daemon and CLI in one.
 * @type {Bundle} */
export const electronShell = {
  name: "shell",
  label: "the Electron shell",
  config: "vite.main.config.ts",
  inputs: ["src", "vite.main.config.ts", "assets", ...shared],
  result: "dist/main/index.mjs",
};

/** @param {Bundle} bundle */
export function isBuilt(bundle) {
  return existsSync(join(root, bundle.result)) && stampMatches(bundle.name, inputsOf(bundle));
}

/** @param {Bundle} bundle @param {string} node the Node that runs Vite */
export async function build(bundle, node) {
  const inputs = inputsOf(bundle);
  const vite = join(root, "node_modules", "vite", "bin", "vite.js");
  const { code, output } = await runCaptured(node, [vite, "build", "--config", bundle.config, "--logLevel", "warn"]);
  if (code !== 0) {
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
