/** How programs of the same user find a running daemon: `daemon.json`, which holds the token and so is for this user only. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { readFileIfPresent, writeFileAtomically } from "../../disk/atomic-file.ts";
import { FailureError } from "../../protocol/failure.ts";
import { type DaemonAddress, daemonAddressSchema } from "../../protocol/local-api.ts";
import { parseJson } from "../json.ts";

/** Throws `FailureError` disk-full, file-unreadable. */
export function writeDaemonAddress(folder: string, address: DaemonAddress): void {
  writeFileAtomically(pathIn(folder), `${JSON.stringify(address)}\n`);
}

export function removeDaemonAddress(folder: string): void {
  rmSync(pathIn(folder), { force: true });
}

/** Where the daemon of this state folder is. Throws `FailureError` not-found when none runs, whatever a killed one left behind. */
export function readDaemonAddress(folder: string): DaemonAddress {
  const address = addressIn(folder);
  if (address === undefined || !isAlive(address.pid))
    throw new FailureError("not-found", `no daemon runs in ${folder}`, {
      action: "Start one with tah mine, or open the app.",
      retry: true,
    });
  return address;
}

/**
 * The token of a daemon that was killed here. Its successor takes it over, so that windows that were open stay let in; one that
 * ended in order left nothing.
 */
export function tokenLeftBehind(folder: string): string | undefined {
  return addressIn(folder)?.token;
}

function addressIn(folder: string): DaemonAddress | undefined {
  return daemonAddressSchema.safeParse(parseJson(readFileIfPresent(pathIn(folder)) ?? "")).data;
}

/** Whether a process with this id exists, even one that is not ours to signal. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

function pathIn(folder: string): string {
  return join(folder, "daemon.json");
}
