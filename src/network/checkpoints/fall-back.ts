/** Before miners are sent to a checkpoint: is it still what was stored? */
import { FailureError } from "../../protocol/failure.ts";
import type { Checkpoint } from "../../protocol/run-view.ts";
import type { FileBlobStore } from "../../transport/blobs/file-blob-store.ts";
import type { Orchestrator } from "../orchestrator/orchestrator.ts";

/** Lets the run go on from the checkpoint before the last where the last is damaged. Rejects with `FailureError` (state-corrupt) when both are. */
export async function fallBackIfDamaged(orchestrator: Orchestrator, blobs: FileBlobStore): Promise<void> {
  const { checkpoint, previousCheckpoint, definition } = orchestrator.state;
  if (checkpoint === null || (await isIntact(checkpoint, blobs))) return;
  if (previousCheckpoint === null || !(await isIntact(previousCheckpoint, blobs)))
    throw new FailureError("state-corrupt", `No checkpoint of ${definition.runId} is unharmed on this disk.`, {
      action: "Restore the state folder from a backup, or begin anew in another one.",
    });
  orchestrator.submit({ type: "checkpoint-damaged" });
  await orchestrator.settled();
}

async function isIntact({ stages }: Checkpoint, blobs: FileBlobStore): Promise<boolean> {
  for (const { weights, optimizer } of stages)
    for (const { hash } of [weights, optimizer]) if (!(await blobs.isIntact(hash))) return false;
  return true;
}
