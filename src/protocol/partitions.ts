/**
 * How a stage's parameter vector is cut for the butterfly merge, and which replicas own which slice. Everybody works it out
 * by themselves from what the orchestrator listed.
 */
import { hashBytes } from "./identity.ts";
import type { BlobHash, MinerId, PlaceRef } from "./ids.ts";

/** A larger slice holds up what is more urgent, and costs more to fetch again. */
const largestSliceBytes = 4 << 20;
const bytesPerParameter = 4;

export interface Partition {
  readonly index: number;
  /** Of the parameter vector: elements `from` … `from + length − 1`. */
  readonly from: number;
  readonly length: number;
  /** All replicas, in the order in which they are asked to average it: the first two own it. */
  readonly order: readonly MinerId[];
}

/** As many owners as average a slice unless they disagree or are lost. */
export const ownersPerPartition = 2;

/**
 * A multiple of the number of replicas, so that each owns as many as the others. `replicas`: as listed by `upload`; the
 * shuffle is seeded by the place, so that nobody chooses whose work it averages.
 */
export function partitionsOf(at: PlaceRef, replicas: readonly MinerId[], parameters: number): readonly Partition[] {
  const shuffled = mergeOrder(at, replicas);
  const count = partitionCount(shuffled.length, parameters);
  return Array.from({ length: count }, (_, index) => {
    const from = Math.floor((index * parameters) / count);
    const first = index % shuffled.length;
    return {
      index,
      from,
      length: Math.floor(((index + 1) * parameters) / count) - from,
      order: [...shuffled.slice(first), ...shuffled.slice(0, first)],
    };
  });
}

/** The name of a contribution: the hash of its slices' hashes. */
export function manifestOf(slices: readonly BlobHash[]): BlobHash {
  return hashBytes(Buffer.from(slices.join(""), "hex"));
}

export function partitionCount(replicas: number, parameters: number): number {
  const rounds = Math.ceil((parameters * bytesPerParameter) / (Math.max(1, replicas) * largestSliceBytes));
  return Math.min(parameters, replicas * Math.max(1, rounds));
}

/** The replicas, shuffled; partition i is put to them from the (i mod replicas)th on, round and round. */
export function mergeOrder(
  { runId, epoch, attempt, stage }: PlaceRef,
  replicas: readonly MinerId[],
): readonly MinerId[] {
  const drawn = replicas.map((miner) => ({
    miner,
    draw: hashBytes(Buffer.from(`${runId}:${epoch}:${attempt}:${stage}:${miner}`)),
  }));
  return drawn.toSorted((a, b) => (a.draw < b.draw ? -1 : 1)).map(({ miner }) => miner);
}
