/**
 * From text to a dataset in the blob store: read, tokenize, hold out, cut into shards. What a shard or a sample is says
 * `compute/data`; this folder reads the files.
 */
import { buildDataset, type Manifest, manifestSchema } from "../../compute/data/manifest.ts";
import { trainingCrops, validationCrops } from "../../compute/data/samples.ts";
import { splitDocuments } from "../../compute/data/split.ts";
import { loadTokenizer, type TokenizerId } from "../../compute/data/tokenizer.ts";
import { FailureError } from "../../protocol/failure.ts";
import { hashBytes } from "../../protocol/identity.ts";
import type { BlobHash, BlobRef } from "../../protocol/ids.ts";
import type { ModelConfig, TrainingConfig } from "../../protocol/run-config.ts";
import type { FileBlobStore } from "../../transport/blobs/file-blob-store.ts";
import type { RunDefinition } from "../orchestrator/core/definition.ts";
import { readBundledTexts } from "./bundled-texts.ts";
import { readOwnTexts } from "./own-texts.ts";

/** Small enough to be fetched in a moment over a home link. */
const maxShardBytes = 4 << 20;
/** Of every document's tokens; nobody trains on them. */
const validationShare = 0.05;

export interface DatasetOptions {
  /** A person's own text; undefined: the bundled one. */
  readonly dataPath: string | undefined;
  readonly tokenizer: TokenizerId;
  readonly model: ModelConfig;
  readonly training: TrainingConfig;
}

/** Returns the manifest's name. Rejects with `FailureError`: file-unreadable, dataset-invalid, invalid-config, disk-full. */
export async function prepareDataset(options: DatasetOptions, blobs: FileBlobStore): Promise<BlobRef> {
  const { dataPath, model, training } = options;
  const tokenizer = await loadTokenizer(options.tokenizer);
  if (tokenizer.vocabulary > model.vocabulary)
    throw new FailureError(
      "invalid-config",
      `The tokenizer has ${tokenizer.vocabulary} tokens, more than the model's vocabulary of ${model.vocabulary}.`,
    );
  const texts = dataPath === undefined ? await readBundledTexts() : await readOwnTexts(dataPath);
  const split = splitDocuments(texts, tokenizer, validationShare);
  // Four bytes per token at most, and room for the header.
  const { manifest, files } = buildDataset(split, tokenizer, maxShardBytes / 4 - 16, hashBytes);
  mustHoldSamples(manifest, training);
  for (const [hash, file] of files) await blobs.receive(hash, [file]);
  return blobs.put(Buffer.from(JSON.stringify(manifest)));
}

/** Rejects with `FailureError`: blob-not-found, blob-corrupt, dataset-invalid. */
export async function readManifest(ref: BlobRef, blobs: Pick<FileBlobStore, "get">): Promise<Manifest> {
  const text = Buffer.from(await blobs.get(ref.hash)).toString();
  const manifest = manifestSchema.safeParse(JSON.parse(text));
  if (!manifest.success) throw new FailureError("dataset-invalid", `The dataset's manifest ${ref.hash} is not one.`);
  return manifest.data;
}

/**
 * The manifest of a run's dataset, all of which is looked at: a miner that asks for a damaged shard can do nothing about it. Rejects
 * with `FailureError` (state-corrupt).
 */
export async function openDataset(
  { runId, dataset }: Pick<RunDefinition, "runId" | "dataset">,
  blobs: FileBlobStore,
): Promise<Manifest> {
  const mustBeIntact = async (hash: BlobHash) => {
    if (await blobs.isIntact(hash)) return;
    throw new FailureError(
      "state-corrupt",
      `Parts of the dataset of ${runId} are missing or damaged in its state folder.`,
      {
        action: "Restore them from a backup, or begin anew in another state folder.",
      },
    );
  };
  await mustBeIntact(dataset.manifest.hash);
  const manifest = await readManifest(dataset.manifest, blobs);
  for (const hash of datasetBlobs(dataset.manifest, manifest)) await mustBeIntact(hash);
  return manifest;
}

/** The manifest's shards, and itself. */
export function datasetBlobs(ref: BlobRef, manifest: Manifest): readonly BlobHash[] {
  return [ref.hash, ...[...manifest.trainShards, ...manifest.validationShards].map(({ hash }) => hash)];
}

/** Throws `FailureError` (dataset-invalid) when the text is too short to draw a sample from. */
function mustHoldSamples(manifest: Manifest, training: TrainingConfig): void {
  trainingCrops(manifest, training, { epoch: 0, index: 0 });
  validationCrops(manifest, training.sequenceLength, 1);
}
