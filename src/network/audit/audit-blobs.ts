/** Whether what runs and kept checkpoints refer to is there, byte for byte. */
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { FailureError, failureOf } from "../../protocol/failure.ts";
import type { BlobHash, RunId } from "../../protocol/ids.ts";
import type { Checkpoint } from "../../protocol/run-view.ts";
import { hashFile } from "../../transport/blobs/hash-file.ts";
import { readArchive } from "../checkpoints/archive.ts";
import { datasetBlobs, readManifest } from "../dataset/prepare-dataset.ts";
import type { RunState } from "../orchestrator/core/state.ts";
import type { Finding } from "./finding.ts";

export interface BlobsAudit {
  readonly blobs: number;
  readonly bytes: number;
  readonly findings: readonly Finding[];
}

/** Why a blob is kept. */
interface Purpose {
  readonly of: string;
  readonly action: string;
}

const beginAnew = "Restore the state folder from a backup, or begin anew in another one.";
const goesOn = "Nothing: the next start notices it, and goes on from the checkpoint before.";
const notNeeded = "Nothing: the run does not need it. It can no longer be exported, though.";

export async function auditBlobs(stateFolder: string, runs: readonly RunState[]): Promise<BlobsAudit> {
  const folder = join(stateFolder, "blobs");
  const purposes = new Map<BlobHash, Purpose>();
  const findings: Finding[] = [];
  // A blob may serve several purposes: the first one counts, so the weightiest come first.
  const expect = (hashes: readonly BlobHash[], purpose: Purpose) => {
    for (const hash of hashes) if (!purposes.has(hash)) purposes.set(hash, purpose);
  };
  for (const state of runs) {
    const { runId } = state.definition;
    expect(await datasetOf(state, folder), { of: `the dataset of ${runId}`, action: beginAnew });
    expect(blobsOf(state.checkpoint), { of: checkpointName(runId, state.checkpoint), action: goesOn });
    expect(blobsOf(state.previousCheckpoint), { of: checkpointName(runId, state.previousCheckpoint), action: goesOn });
  }
  try {
    for (const { runId, epoch, manifest, weights, optimizer } of await readArchive(stateFolder))
      expect(
        [manifest, ...weights, ...(optimizer ?? [])].map(({ hash }) => hash),
        { of: checkpointName(runId, { epoch }), action: notNeeded },
      );
  } catch (error) {
    const failure = failureOf(error);
    if (failure === undefined) throw error;
    findings.push({ part: "blobs", what: failure.message, action: failure.action });
  }

  let bytes = 0;
  for (const [hash, { of, action }] of purposes) {
    const size = await unharmedBytes(join(folder, hash), hash);
    if (typeof size === "number") bytes += size;
    else findings.push({ part: "blobs", what: `The blob ${hash} of ${of} is ${size}.`, action });
  }
  return { blobs: purposes.size, bytes, findings };
}

/** All of it that can be known. */
async function datasetOf({ definition }: RunState, folder: string): Promise<readonly BlobHash[]> {
  const ref = definition.dataset.manifest;
  const get = (hash: BlobHash) => readFile(join(folder, hash));
  const manifest = await readManifest(ref, { get }).catch(() => null); // It is damaged, then, and found to be so.
  return manifest === null ? [ref.hash] : datasetBlobs(ref, manifest);
}

function blobsOf(checkpoint: Checkpoint | null): readonly BlobHash[] {
  return checkpoint?.stages.flatMap(({ weights, optimizer }) => [weights.hash, optimizer.hash]) ?? [];
}

function checkpointName(runId: RunId, checkpoint: Pick<Checkpoint, "epoch"> | null): string {
  return `checkpoint ${checkpoint?.epoch ?? ""} of ${runId}`;
}

async function unharmedBytes(path: string, hash: BlobHash): Promise<number | "missing" | "damaged"> {
  try {
    const { size } = await stat(path);
    return (await hashFile(path)) === hash ? size : "damaged";
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return "missing";
    throw new FailureError("file-unreadable", `${path} cannot be read.`, {
      action: "Check the disk, and this user's right to the file.",
      cause: error,
    });
  }
}
