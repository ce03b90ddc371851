/**
 * How a stage's parameter vector is cut for the butterfly merge, and which replicas own which slice. Everybody works it out
 * by themselves from what the orchestrator listed.
 */
import { hashBytes } from "./identity.ts";
import { type BlobHash, type BlobRef, blobHashSchema, type MinerId, type PlaceRef } from "./ids.ts";
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
  return partitionRanges(shuffled.length, parameters, codec).map((range, index) => {
    const first = index % shuffled.length;
    return { index, ...range, order: [...shuffled.slice(first), ...shuffled.slice(0, first)] };
  });
}

/** Where the partitions lie, whoever owns them. */
export function partitionRanges(
  replicas: number,
  parameters: number,
  codec: VectorCodec,
): readonly Pick<Partition, "from" | "length">[] {
  const count = partitionCount(replicas, parameters, codec);
  const unit = unitOf(codec);
  const units = Math.ceil(parameters / unit);
  const startOf = (index: number) => Math.min(parameters, Math.floor((index * units) / count) * unit);
  return Array.from({ length: count }, (_, index) => ({
    from: startOf(index),
    length: startOf(index + 1) - startOf(index),
  }));
}

const hashHexDigits = 64;
/** In a list of slices: there is none of this partition. */
const noSlice = "0".repeat(hashHexDigits);

/** A list of slices, one for each partition, as a blob. */
export function sliceListBytes(slices: readonly (BlobHash | null)[]): Uint8Array {
  return Buffer.from(slices.map((slice) => slice ?? noSlice).join(""), "hex");
}

export function slicesIn(bytes: Uint8Array): readonly (BlobHash | null)[] {
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
  return Array.from({ length: hex.length / hashHexDigits }, (_, index) => {
    const slice = hex.slice(hashHexDigits * index, hashHexDigits * (index + 1));
    return slice === noSlice ? null : blobHashSchema.parse(slice);
  });
}

/** Of a list of so many slices. */
export function sliceListRef(hash: BlobHash, slices: number): BlobRef {
  return { hash, bytes: (hashHexDigits / 2) * slices };
}

/** The name of a contribution, or of what was merged: the hash of the list of its slices. */
export function manifestOf(slices: readonly (BlobHash | null)[]): BlobHash {
  return hashBytes(sliceListBytes(slices));
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
