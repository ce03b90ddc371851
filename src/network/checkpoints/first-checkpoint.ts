/** A run that does not begin with weights drawn from its seed, but with a model that there is already. */
import { optimizerStateLength } from "../../compute/model/optimizer-state.ts";
import { cutIntoStages } from "../../compute/model/stages.ts";
import { FailureError } from "../../protocol/failure.ts";
import { bytesOf } from "../../protocol/identity.ts";
import type { BlobRef } from "../../protocol/ids.ts";
import type { TrainingConfig } from "../../protocol/run-config.ts";
import type { Checkpoint } from "../../protocol/run-view.ts";
import type { FileBlobStore } from "../../transport/blobs/file-blob-store.ts";
import { readStage, type StoredModel } from "./stored-model.ts";

/**
 * Stores the model's weights, cut into stages, with an optimizer that remembers nothing: the checkpoint that epoch 0 starts
 * from. Rejects with `FailureError`: invalid-config when a weight is not finite, message-too-large, disk-full; and as the
 * model's `readTensor`.
 */
export async function storeFirstCheckpoint(
  stored: StoredModel,
  { stages, mode }: { readonly stages: number; readonly mode: TrainingConfig["mode"] },
  blobs: Pick<FileBlobStore, "put">,
): Promise<Checkpoint> {
  const refs: { weights: BlobRef; optimizer: BlobRef }[] = [];
  for (const stage of cutIntoStages(stored.model, stages)) {
    const weights = await readStage(stored, stage);
    if (!weights.every(Number.isFinite))
      throw new FailureError(
        "invalid-config",
        `The model has weights that are not finite numbers, in stage ${stage.index}.`,
        {
          action: "Use another model, or an earlier checkpoint.",
        },
      );
    const optimizer = new Float32Array(optimizerStateLength(mode, weights.length));
    refs.push({ weights: await blobs.put(bytesOf(weights)), optimizer: await blobs.put(bytesOf(optimizer)) });
  }
  return { epoch: 0, tokens: 0, stages: refs };
}
