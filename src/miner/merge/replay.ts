/**
 * Takes the steps of merges that a replica missed: with the same slices, and the same arithmetic, it comes to the same weights as those
 * who took part, to the last bit.
 */
import { vectorPayloadBytes } from "../../compute/codec/vector.ts";
import type { PastMerge } from "../../protocol/gateway-messages.ts";
import type { BlobHash, MinerId } from "../../protocol/ids.ts";
import { partitionRanges, sliceListRef, slicesIn } from "../../protocol/partitions.ts";
import type { PeerBlobs } from "../../transport/peer-blobs.ts";
import type { ComputeEngine } from "../compute-host/compute-worker.ts";
import type { Place } from "../flow/place.ts";
import { mostKeptBytes } from "./past-merges.ts";

export interface ReplaySurroundings {
  readonly place: Place;
  readonly parameters: number;
  /** Holds what the first merge began with, or has trained on it in this epoch. */
  readonly engine: ComputeEngine;
  readonly peerBlobs: Pick<PeerBlobs, "get">;
  /** Who may have the slices. */
  readonly holders: readonly MinerId[];
  readonly signal: AbortSignal;
}

type Range = ReturnType<typeof partitionRanges>[number];

const slicesInFlight = 4;

/** At most, of what has to be fetched for it; null: it is more than anybody keeps. */
export function replayBytes(merges: readonly PastMerge[], { training }: Place, parameters: number): number | null {
  const { merge } = training.compression;
  const ranges = merges.flatMap(({ replicas }) => partitionRanges(replicas, parameters, merge));
  const bytes = ranges.reduce((sum, { length }) => sum + vectorPayloadBytes(merge, length).most, 0);
  return bytes > mostKeptBytes(parameters) ? null : bytes;
}

/** Returns the hash of the weights that it leads to. Rejects as `PeerBlobs.get` and the engine do; the engine holds anything then. */
export async function replay(merges: readonly PastMerge[], surroundings: ReplaySurroundings): Promise<BlobHash> {
  const { engine } = surroundings;
  for (const merge of merges) await replayOne(merge, surroundings);
  return engine.call("weightsHash");
}

async function replayOne({ replicas, slices: list, tokens }: PastMerge, surroundings: ReplaySurroundings) {
  const { place, parameters, engine, peerBlobs, holders, signal } = surroundings;
  const ranges = partitionRanges(replicas, parameters, place.training.compression.merge);
  const slices = slicesIn(await peerBlobs.get(sliceListRef(list, ranges.length), holders, { signal }));
  signal.throwIfAborted();
  await engine.call("beginMerge");
  const waiting = ranges.entries();
  const givingUp = new AbortController();
  const either = AbortSignal.any([signal, givingUp.signal]);
  const lanes = Array.from({ length: slicesInFlight }, () =>
    bring(waiting, slices, { ...surroundings, signal: either }),
  );
  try {
    await Promise.all(lanes);
  } finally {
    // Nothing comes to the engine any more once this has failed.
    givingUp.abort();
    await Promise.allSettled(lanes);
  }
  signal.throwIfAborted();
  await engine.call("applyMerged", { tokens, counted: false });
}

/** Each one after the other, taking turns with others that do the same. */
async function bring(
  ranges: Iterable<[number, Range]>,
  slices: readonly (BlobHash | null)[],
  { place, engine, peerBlobs, holders, signal }: ReplaySurroundings,
): Promise<void> {
  for (const [index, range] of ranges) {
    const hash = slices[index];
    if (!hash) continue;
    const bytes = vectorPayloadBytes(place.training.compression.merge, range.length);
    const payload = await peerBlobs.get({ hash, bytes }, inTurn(holders, index), { signal });
    signal.throwIfAborted();
    await engine.call("mergeSlice", { ...range, payload });
  }
}

/** From another one on for each slice, so that all of them serve as much beside their training. */
function inTurn(holders: readonly MinerId[], index: number): readonly MinerId[] {
  const first = holders.length === 0 ? 0 : index % holders.length;
  return [...holders.slice(first), ...holders.slice(0, first)];
}
