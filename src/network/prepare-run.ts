/** Puts together what a new run consists of: its dataset, its definition and, where it goes on with a model, that one's weights. */
import { presets } from "../compute/model/presets.ts";
import type { FileBlobStore } from "../transport/blobs/file-blob-store.ts";
import { storeFirstCheckpoint } from "./checkpoints/first-checkpoint.ts";
import { prepareDataset } from "./dataset/prepare-dataset.ts";
import { openModelFolder } from "./hugging-face/open-model.ts";
import { largestBlobBytes, type RunDefinition } from "./orchestrator/core/definition.ts";
import { defineRun, type RunOptions, trainingOf } from "./run-options.ts";

/** Rejects with `FailureError`: invalid-option, invalid-config, file-unreadable, dataset-invalid, disk-full. */
export async function prepareRun(options: RunOptions, blobs: FileBlobStore): Promise<RunDefinition> {
  const { from, data: dataPath } = options;
  const stored = from === undefined ? null : await openModelFolder(from, options.tokenizer);
  try {
    const { model, tokenizer } = stored ?? presets[options.preset];
    const training = trainingOf(options, model);
    const manifest = await prepareDataset({ dataPath, tokenizer, model, training }, blobs);
    const definition = defineRun(options, { model, tokenizer, dataset: { manifest } });
    if (stored === null) return definition;
    blobs.raiseLimit(largestBlobBytes(definition));
    const { stages } = definition;
    const firstCheckpoint = await storeFirstCheckpoint(stored, { stages, mode: training.mode }, blobs);
    return { ...definition, firstCheckpoint };
  } finally {
    await stored?.close();
  }
}
