/**
 * How a stage's parameter vector is cut for the butterfly merge, and which replicas own which slice. Everybody works it out
 * by themselves from what the orchestrator listed.
 */
import { hashBytes } from "./identity.ts";
import type { BlobHash, MinerId, PlaceRef } from "./ids.ts";
import type { VectorCodec } from "./run-config.ts";

/**
 * A larger slice holds up what is more urgent, and costs more to fetch again: uncompressed it is 4 MiB. Compressed it is less, but the
 * owner has everybody's slice in memory, decoded, when it averages them.
 */
const largestSlice = 2 ** 20;
/** Codecs work in chunks, of no more numbers than this: what is cut elsewhere has a shorter one at its end, which costs more bytes per number. */
const codecChunk = 4096;

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
 * A multiple of the number of replicas, so that each owns as many as the others, unless the stage has too few chunks of its codec for
 * that. `replicas`: as listed by `upload`; the shuffle is seeded by the place, so that nobody chooses whose work it averages.
 */
export function partitionsOf(
  at: PlaceRef,
  replicas: readonly MinerId[],
  parameters: number,
  codec: VectorCodec,
): readonly Partition[] {
  const shuffled = mergeOrder(at, replicas);
  const count = partitionCount(shuffled.length, parameters, codec);
  const unit = unitOf(codec);
  const units = Math.ceil(parameters / unit);
  const startOf = (index: number) => Math.min(parameters, Math.floor((index * units) / count) * unit);
  return Array.from({ length: count }, (_, index) => {
    const from = startOf(index);
    const first = index % shuffled.length;
    return {
      index,
      from,
      length: startOf(index + 1) - from,
      order: [...shuffled.slice(first), ...shuffled.slice(0, first)],
    };
  });
}

/** The name of a contribution: the hash of its slices' hashes. */
export function manifestOf(slices: readonly BlobHash[]): BlobHash {
  return hashBytes(Buffer.from(slices.join(""), "hex"));
}

export function partitionCount(replicas: number, parameters: number, codec: VectorCodec): number {
  const unit = unitOf(codec);
  const units = Math.ceil(parameters / unit);
  const rounds = Math.ceil((units * unit) / (Math.max(1, replicas) * largestSlice));
  return Math.min(units, replicas * Math.max(1, rounds));
}

/** Slices begin at multiples of it. */
function unitOf(codec: VectorCodec): number {
  return codec.kind === "f32" ? 1 : codecChunk;
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
