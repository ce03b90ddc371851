import { existsSync, readFileSync, statfsSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { runCaptured } from "./child.mjs";
import { SetupFailure } from "./failure.mjs";
import { root, stampFolder } from "./folders.mjs";

const neededGigabytes = 2;
const networkErrors =
  /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT|ENOTCACHED)\b/;

/** @typedef {{ version?: string, integrity?: string, optional?: boolean, devOptional?: boolean, peer?: boolean }} LockEntry */

/** Whether `node_modules` holds what the lock file names: npm leaves a copy of what it installed, written last. */
export function dependenciesMatchLock() {
  const installedFile = join(root, "node_modules", ".package-lock.json");
  if (!existsSync(installedFile)) return false;
  const installed = readLock(installedFile);
  return Object.entries(readLock(join(root, "package-lock.json"))).every(([path, wanted]) => {
    if (path === "") return true;
    const found = installed[path];
    return found ? found.version === wanted.version && found.integrity === wanted.integrity : wanted.optional === true;
  });
}

/** @param {string} file @returns {Record<string, LockEntry>} */
function readLock(file) {
  return JSON.parse(readFileSync(file, "utf8")).packages;
}

/**
 * @param {{ readonly bavail: number, readonly bsize: number }} [disk] free blocks, and their size in bytes
 * @throws SetupFailure when it is too full to install and build
 */
export function checkDiskSpace({ bavail, bsize } = statfsSync(root)) {
  const freeGigabytes = (bavail * bsize) / 2 ** 30;
  if (freeGigabytes >= neededGigabytes) return;
  throw new SetupFailure(
    "no-disk-space",
    `Only ${freeGigabytes.toFixed(1)} GB are free on the disk of ${root}: free ${neededGigabytes} GB, then try again.`,
  );
}

/** Installs exactly the locked packages, without running any of their scripts. */
export async function installDependencies() {
  const npm = findNpm();
  const args = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  const { code, output } = await runCaptured(npm.program, [...npm.args, ...args]).catch((error) => {
    if (error.code !== "ENOENT") throw error;
    throw new SetupFailure(
      "npm-missing",
      "npm was not found: install it together with Node from https://nodejs.org, then try again.",
    );
  });
  if (code === 0) return;
  const log = join(stampFolder, "npm-ci.log");
  writeFileSync(log, output);
  if (/\bENOSPC\b/.test(output))
    throw new SetupFailure("no-disk-space", "The disk is full: free 2 GB, then try again.");
  if (networkErrors.test(output)) {
    throw new SetupFailure(
      "no-network",
      "The first run needs the npm registry, and it cannot be reached: connect to the internet, then try again.",
    );
  }
  throw new SetupFailure(
    "install-failed",
    `npm could not install the packages: see ${log}, mend the cause and try again.`,
  );
}

/** The npm that runs this script, or the one on the PATH, as JavaScript, so that no shell is needed. */
function findNpm() {
  const candidates = [
    process.env.npm_execpath,
    join(process.execPath, "..", "node_modules", "npm", "bin", "npm-cli.js"),
    join(process.execPath, "..", "..", "lib", "node_modules", "npm", "bin", "npm-cli.js"),
  ];
  const script = candidates.find((path) => path?.endsWith("npm-cli.js") && existsSync(path));
  if (script) return { program: process.execPath, args: [script] };
  const folder = (process.env.PATH ?? "").split(delimiter).find((path) => existsSync(join(path, "npm")));
  return { program: folder ? join(folder, "npm") : "npm", args: [] };
}
