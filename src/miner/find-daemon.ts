/** Finds the daemon that runs on this computer: that of a state folder, or of one of the demo networks below it. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { FailureError, failureOf } from "../protocol/failure.ts";
import type { DaemonAddress } from "../protocol/local-api.ts";
import { connectLocalApi } from "./local-api/client.ts";
import { readDaemonAddress } from "./store/daemon-address.ts";
import { stateFolderPath } from "./store/state-folder.ts";

/** Holds one folder per demo network; in each of those this computer's own miner has its state under `ownMinerFolderName`. */
export const demosFolderName = "demo";
export const ownMinerFolderName = "this-computer";

/** The daemon of `stateFolder` itself, otherwise that of the demo network that was started last. Throws `FailureError` unreachable. */
export function findDaemon(stateFolder: string = stateFolderPath()): DaemonAddress {
  for (const folder of daemonFolders(stateFolder)) {
    const address = liveDaemonIn(folder);
    if (address !== undefined) return address;
  }
  throw new FailureError("unreachable", "nothing of Train at Home runs on this computer", {
    action: "Start it with npm start, or with tah mine --network ws://HOST:PORT.",
    retry: true,
  });
}

/**
 * Where the daemon of this state folder is, if a process with its id runs. That may be a stranger's: ids are given again after a
 * daemon was killed, and after every start of the computer.
 */
export function liveDaemonIn(folder: string): DaemonAddress | undefined {
  try {
    return readDaemonAddress(folder);
  } catch (error) {
    if (failureOf(error)?.code === "not-found") return undefined;
    throw error;
  }
}

/** The daemon of this state folder, if it answers as that. Worth its time before deciding not to start one. */
export async function answeringDaemonIn(folder: string): Promise<DaemonAddress | undefined> {
  const address = liveDaemonIn(folder);
  return address !== undefined && (await answers(address)) ? address : undefined;
}

/** Like `findDaemon`, of daemons that answer; undefined when none does. */
export async function findAnsweringDaemon(stateFolder: string = stateFolderPath()): Promise<DaemonAddress | undefined> {
  for (const folder of daemonFolders(stateFolder)) {
    const address = await answeringDaemonIn(folder);
    if (address !== undefined) return address;
  }
  return undefined;
}

async function answers(address: DaemonAddress): Promise<boolean> {
  try {
    const client = await connectLocalApi(address);
    client.close();
    return true;
  } catch (error) {
    const code = failureOf(error)?.code;
    if (code === undefined) throw error;
    // Anything else is said by a daemon that is there, such as one of another version or with too many clients.
    return code !== "unreachable" && code !== "timed-out" && code !== "not-authorised";
  }
}

/** Where daemons may have their state, the likeliest first. */
function daemonFolders(stateFolder: string): readonly string[] {
  const demos = join(stateFolder, demosFolderName);
  const names = existsSync(demos) ? readdirSync(demos) : [];
  const networks = names
    .map((name) => join(demos, name, ownMinerFolderName))
    .sort((a, b) => changedAtMs(b) - changedAtMs(a));
  return [stateFolder, ...networks];
}

function changedAtMs(folder: string): number {
  return statSync(join(folder, "daemon.json"), { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
