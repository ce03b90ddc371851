/** Finds the networks that this computer serves, or has served, by the state folders that they leave. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { demosFolderName } from "../miner/find-daemon.ts";
import { stateFolderPath } from "../miner/store/state-folder.ts";
import { type ArchivedCheckpoint, archiveFile, readArchive } from "../network/checkpoints/archive.ts";
import { FailureError } from "../protocol/failure.ts";
import type { RunId } from "../protocol/ids.ts";
import type { CommonOptions } from "./option-types.ts";

/** Of the network that `tah network serve` serves, below this computer's state folder. */
export const servedFolderName = "network";
/** Of a demo network's orchestrator, below the demo's folder. */
export const orchestratorFolderName = "orchestrator";

export interface FoundArchive {
  readonly stateFolder: string;
  /** Oldest first. */
  readonly checkpoints: readonly ArchivedCheckpoint[];
}

/**
 * The network in `stateFolder` itself, or else that among the served ones and the demos below it that has the newest checkpoint;
 * of those with `runId`, where that is given. Rejects with `FailureError`: not-found, state-corrupt.
 */
export async function findArchive(
  runId: RunId | undefined,
  stateFolder: string = stateFolderPath(),
): Promise<FoundArchive> {
  for (const folder of networkFolders(stateFolder)) {
    const checkpoints = (await readArchive(folder)).filter((one) => runId === undefined || one.runId === runId);
    if (checkpoints.length > 0) return { stateFolder: folder, checkpoints };
  }
  throw new FailureError(
    "not-found",
    `There is no checkpoint${runId === undefined ? "" : ` of ${runId}`} in ${stateFolder}, nor in a network below it.`,
    { action: "Checkpoints are on the computer that serves the network: run this there, or name its --state folder." },
  );
}

/** Of the network that commands on this computer are about. */
export function networkFolder({ state }: CommonOptions): string {
  return state ?? join(stateFolderPath(), servedFolderName);
}

function networkFolders(stateFolder: string): readonly string[] {
  const demos = join(stateFolder, demosFolderName);
  const demoFolders = existsSync(demos)
    ? readdirSync(demos).map((name) => join(demos, name, orchestratorFolderName))
    : [];
  return [stateFolder, join(stateFolder, servedFolderName), ...demoFolders]
    .filter((folder) => existsSync(join(folder, archiveFile)))
    .sort((a, b) => changedAtMs(b) - changedAtMs(a));
}

function changedAtMs(folder: string): number {
  return statSync(join(folder, archiveFile)).mtimeMs;
}
