/** Finds the daemon that runs on this computer: that of a state folder, or of one of the demo networks below it. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { FailureError, failureOf } from "../protocol/failure.ts";
import type { DaemonAddress } from "../protocol/local-api.ts";
import { readDaemonAddress } from "./store/daemon-address.ts";
import { stateFolderPath } from "./store/state-folder.ts";

/** Holds one folder per demo network; in each of those this computer's own miner has its state under `ownMinerFolderName`. */
export const demosFolderName = "demo";
export const ownMinerFolderName = "this-computer";

/** The daemon of `stateFolder` itself, otherwise that of the demo network that was started last. Throws `FailureError` unreachable. */
export function findDaemon(stateFolder: string = stateFolderPath()): DaemonAddress {
  const demos = join(stateFolder, demosFolderName);
  const names = existsSync(demos) ? readdirSync(demos) : [];
  const networks = names
    .map((name) => join(demos, name, ownMinerFolderName))
    .sort((a, b) => changedAtMs(b) - changedAtMs(a));
  for (const folder of [stateFolder, ...networks]) {
    const address = liveDaemonIn(folder);
    if (address !== undefined) return address;
  }
  throw new FailureError("unreachable", "nothing of Train at Home runs on this computer", {
    action: "Start it with npm start, or with tah mine --network ws://HOST:PORT.",
    retry: true,
  });
}

/** Where the daemon of this state folder is, if one runs there. */
export function liveDaemonIn(folder: string): DaemonAddress | undefined {
  try {
    return readDaemonAddress(folder);
  } catch (error) {
    if (failureOf(error)?.code === "not-found") return undefined;
    throw error;
  }
}

function changedAtMs(folder: string): number {
  return statSync(join(folder, "daemon.json"), { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
