/**
 * The dataset as a replica sees it: fetches the manifest and, when a sample first needs them, the shards, all by hash.
 * Which tokens a sample is made of is decided in `src/compute/data`.
 */
import { type Manifest, manifestSchema } from "../../compute/data/manifest.ts";
import { readSample, type Sample, type SampleName, trainingCrops } from "../../compute/data/samples.ts";
import { decodeShard, largestToken, type TokenArray } from "../../compute/data/shard.ts";
import type { ModelConfig, TrainingConfig } from "../../compute/model/config.ts";
import { FailureError } from "../../protocol/failure.ts";
import type { BlobHash, BlobRef } from "../../protocol/ids.ts";
import type { BlobClient } from "../../transport/blobs/blob-client.ts";

/** Shards used lately stay in memory up to this; the rest is read from the blob cache's disk again. */
const maxHeldBytes = 256 * 2 ** 20;

/** Finds the tokens of a microbatch. */
export interface Samples {
  sample(name: SampleName, signal: AbortSignal): Promise<Sample>;
}

/** Rejects as `BlobClient.get`, and with dataset-invalid. */
export async function openSamples(
  blobs: Pick<BlobClient, "get">,
  manifestRef: BlobRef,
  model: ModelConfig,
  training: TrainingConfig,
  signal: AbortSignal,
  heldBytesLimit = maxHeldBytes,
): Promise<Samples> {
  const manifest = parseManifest(await blobs.get(manifestRef, { signal }));
  /** Those unused for longest come first. */
  const held = new Map<BlobHash, TokenArray>();

  async function fetchShard(hash: BlobHash, forSample: AbortSignal): Promise<TokenArray> {
    const ref = manifest.trainShards.find((shard) => shard.hash === hash);
    if (ref === undefined) throw new Error(`the manifest has no shard ${hash}`);
    const tokens = decodeShard(await blobs.get({ hash: ref.hash, bytes: ref.bytes }, { signal: forSample }));
    if (tokens.length !== ref.tokens || largestToken(tokens) >= model.vocabulary)
      throw new FailureError("dataset-invalid", `The data shard ${hash} does not fit the model or its manifest.`);
    return tokens;
  }

  function hold(hash: BlobHash, tokens: TokenArray): void {
    held.delete(hash);
    held.set(hash, tokens);
    let heldBytes = [...held.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
    for (const [oldest, { byteLength }] of held) {
      if (heldBytes <= heldBytesLimit) return;
      held.delete(oldest);
      heldBytes -= byteLength;
    }
  }

  return {
    async sample(name, forSample) {
      const crops = trainingCrops(manifest, training, name);
      const shards = new Map<BlobHash, TokenArray>();
      for (const { shard } of crops) {
        const tokens = shards.get(shard) ?? held.get(shard) ?? (await fetchShard(shard, forSample));
        shards.set(shard, tokens);
        hold(shard, tokens);
      }
      return readSample(crops, training.sequenceLength, (hash) => {
        const tokens = shards.get(hash);
        if (tokens === undefined) throw new Error(`shard ${hash} was not fetched`);
        return tokens;
      });
    },
  };
}

function parseManifest(bytes: Uint8Array): Manifest {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw new FailureError("dataset-invalid", "The dataset's manifest is not JSON.", { cause });
  }
  const parsed = manifestSchema.safeParse(value);
  if (!parsed.success) throw new FailureError("dataset-invalid", "The dataset's manifest is malformed.");
  return parsed.data;
}
