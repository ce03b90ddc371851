/** Puts together what a new run consists of: its dataset, its definition and, where it goes on with a model, that one's weights. */
import { presets } from "../compute/model/presets.ts";
import { isCheckpointName } from "../protocol/ids.ts";
import type { FileBlobStore } from "../transport/blobs/file-blob-store.ts";
import { type CheckpointArchive, findCheckpoint, readArchive } from "./checkpoints/archive.ts";
import { storeFirstCheckpoint } from "./checkpoints/first-checkpoint.ts";
import { openCheckpoint } from "./checkpoints/open-checkpoint.ts";
import type { StoredModel } from "./checkpoints/stored-model.ts";
import { prepareDataset } from "./dataset/prepare-dataset.ts";
import { openModelFolder } from "./hugging-face/open-model.ts";
import { largestBlobBytes, type RunDefinition } from "./orchestrator/core/definition.ts";
import { defineRun, type RunOptions, trainingOf } from "./run-options.ts";

export interface RunSources {
  readonly blobs: FileBlobStore;
  /** Checkpoints that a run may begin with. */
  readonly archive: Pick<CheckpointArchive, "stateFolder">;
}

/** Rejects with `FailureError`: not-found, blob-corrupt, invalid-option, invalid-config, file-unreadable, dataset-invalid, disk-full. */
export async function prepareRun(options: RunOptions, { blobs, archive }: RunSources): Promise<RunDefinition> {
  const { data: dataPath } = options;
  const stored = await openStart(options, archive.stateFolder);
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

async function openStart({ from, tokenizer }: RunOptions, stateFolder: string): Promise<StoredModel | null> {
  if (from === undefined) return null;
  if (!isCheckpointName(from)) return openModelFolder(from, tokenizer);
  return openCheckpoint(stateFolder, findCheckpoint(await readArchive(stateFolder), from));
}
