/**
 * Which tokens a sample is made of. A training sample is named by (seed, epoch, index) and drawn from nothing else, so the
 * first stage finds the same inputs as the last stage finds targets, without a token crossing the network.
 */
import { FailureError } from "../../protocol/failure.ts";
import type { BlobHash } from "../../protocol/ids.ts";
import type { TrainingConfig } from "../model/config.ts";
import { streamKey, uniform } from "../random.ts";
import type { Manifest, ShardRef } from "./manifest.ts";
import type { TokenArray } from "./shard.ts";

/** One sequence: sequenceLength + 1 tokens of a shard. The last is a target only. */
export interface Crop {
  readonly shard: BlobHash;
  /** First token, counted from the shard's beginning. */
  readonly offset: number;
}

export interface Sample {
  readonly sequences: number;
  /** int32 [sequences · sequenceLength]. */
  readonly tokens: Int32Array;
  /** The token that follows each of `tokens`. */
  readonly targets: Int32Array;
}

export interface SampleName {
  readonly epoch: number;
  /** Microbatch within the epoch, over all sources. */
  readonly index: number;
}

type SampleShape = Pick<TrainingConfig, "seed" | "sequenceLength" | "sequencesPerMicrobatch">;

/** The crops of one training microbatch: every place in the training shards where a sequence fits is equally likely. */
export function trainingCrops(manifest: Manifest, shape: SampleShape, { epoch, index }: SampleName): Crop[] {
  const places = manifest.trainShards.map((shard) => Math.max(0, shard.tokens - shape.sequenceLength));
  const total = places.reduce((sum, count) => sum + count, 0);
  if (total === 0) throw tooShort("training", shape.sequenceLength);
  const key = streamKey(shape.seed, "samples");
  return Array.from({ length: shape.sequencesPerMicrobatch }, (_, sequence) => {
    let place = Math.floor(uniform(key, epoch, index * shape.sequencesPerMicrobatch + sequence) * total);
    const shard = places.findIndex((count) => {
      if (place < count) return true;
      place -= count;
      return false;
    });
    return { shard: shardAt(manifest.trainShards, shard).hash, offset: place };
  });
}

/** At most `count` crops spread evenly over the validation shards; always the same ones, and none overlaps another's inputs. */
export function validationCrops(manifest: Manifest, sequenceLength: number, count: number): Crop[] {
  const all = manifest.validationShards.flatMap((shard) =>
    Array.from({ length: Math.floor((shard.tokens - 1) / sequenceLength) }, (_, window) => ({
      shard: shard.hash,
      offset: window * sequenceLength,
    })),
  );
  if (all.length === 0) throw tooShort("validation", sequenceLength);
  const chosen = Math.min(count, all.length);
  return all.filter(
    (_, window) => Math.floor((window * chosen) / all.length) !== Math.floor(((window - 1) * chosen) / all.length),
  );
}

/** Cuts the crops out of their shards. `shardOf` finds a shard's tokens; the callers hold those that the crops name. */
export function readSample(
  crops: readonly Crop[],
  sequenceLength: number,
  shardOf: (hash: BlobHash) => TokenArray,
): Sample {
  const tokens = new Int32Array(crops.length * sequenceLength);
  const targets = new Int32Array(crops.length * sequenceLength);
  crops.forEach(({ shard, offset }, sequence) => {
    const source = shardOf(shard);
    tokens.set(source.subarray(offset, offset + sequenceLength), sequence * sequenceLength);
    targets.set(source.subarray(offset + 1, offset + 1 + sequenceLength), sequence * sequenceLength);
  });
  return { sequences: crops.length, tokens, targets };
}

function shardAt(shards: readonly ShardRef[], index: number): ShardRef {
  const shard = shards[index];
  if (shard === undefined) throw new RangeError(`no shard ${index}`);
  return shard;
}

function tooShort(what: string, sequenceLength: number): FailureError {
  return new FailureError("dataset-invalid", `No ${what} text is longer than a sequence of ${sequenceLength} tokens.`, {
    action: "Use more text or a shorter sequence.",
  });
}
