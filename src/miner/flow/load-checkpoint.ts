/**
 * Brings what an epoch starts from into a worker that is open for it, with as little as possible on the way. Weights are exact, since
 * replicas compare their hashes: fetched as they are, or made of earlier ones that lie on this miner's disk, as a whole or in part, by
 * the merges since (`../merge/replay.ts`). The optimizer's memory comes in few bytes where it need not be exact.
 */
import { failureOf } from "../../protocol/failure.ts";
import type { PastMerge } from "../../protocol/gateway-messages.ts";
import { floatsOf } from "../../protocol/identity.ts";
import type { BlobRef, MinerId } from "../../protocol/ids.ts";
import type { LogLine } from "../../protocol/machine-view.ts";
import type { BlobClient } from "../../transport/blobs/blob-client.ts";
import type { PeerBlobs } from "../../transport/peer-blobs.ts";
import type { ComputeEngine } from "../compute-host/compute-worker.ts";
import { replay, replayBytes } from "../merge/replay.ts";
import type { Place } from "./place.ts";

/** Where a checkpoint may come from. */
export interface CheckpointSources {
  readonly blobs: Pick<BlobClient, "get" | "bytesHere">;
  readonly peerBlobs: Pick<PeerBlobs, "get">;
  readonly log: (level: LogLine["level"], text: string) => void;
}

/** That is to be loaded: not the initial weights, and somebody hands it out. */
export type LoadableCheckpoint = NonNullable<Place["checkpoint"]> & { readonly optimizer: BlobRef };

interface Loading extends CheckpointSources {
  readonly place: Place;
  readonly parameters: number;
  readonly engine: ComputeEngine;
  readonly signal: AbortSignal;
}

/** Rejects with `FailureError` of the blobs and of the engine. */
export async function loadCheckpoint(checkpoint: LoadableCheckpoint, loading: Loading): Promise<void> {
  const { engine, signal } = loading;
  const { weights, moments, optimizer, holders } = checkpoint;
  if (moments !== null) {
    if (await makeOfEarlier({ ...checkpoint, moments }, loading)) return;
    const attempt = () => loadWithMoments(weights, holders, { moments, holders }, loading);
    if ((await orNull(attempt, signal)) !== null) return;
  }
  const values = floatsOf(await fetchPart(weights, holders, loading));
  const whole = floatsOf(await fetchPart(optimizer, holders, loading));
  signal.throwIfAborted();
  await engine.call("load", { weights: values, optimizer: whole });
}

/** False when that is not shorter, or has failed. */
async function makeOfEarlier(
  checkpoint: LoadableCheckpoint & { readonly moments: BlobRef },
  loading: Loading,
): Promise<boolean> {
  const { signal, log } = loading;
  const earlier = await nearestWeights(checkpoint, loading);
  if (earlier === null) return false;
  const { holders, mergers } = checkpoint;
  const weightsHash = await orNull(async () => {
    await loadWithMoments(earlier.weights, [...new Set([...holders, ...mergers])], checkpoint, loading);
    return replay(earlier.merges, { ...loading, holders: mergers });
  }, signal);
  const isMade = weightsHash === checkpoint.weights.hash;
  log(
    "debug",
    `${earlier.merges.length} merges ${isMade ? "led" : "did not lead"} from earlier weights to the current.`,
  );
  return isMade;
}

/** Whatever weights they are for, the moments are the current ones. */
async function loadWithMoments(
  weights: BlobRef,
  from: readonly MinerId[],
  { moments, holders }: { readonly moments: BlobRef; readonly holders: readonly MinerId[] },
  loading: Loading,
): Promise<true> {
  const values = floatsOf(await fetchPart(weights, from, loading));
  const memory = await fetchPart(moments, holders, loading);
  loading.signal.throwIfAborted();
  await loading.engine.call("load", { weights: values, moments: memory });
  return true;
}

interface EarlierWeights {
  readonly weights: BlobRef;
  /** What leads on from them. */
  readonly merges: readonly PastMerge[];
}

/**
 * The earlier weights from which it is shortest, in bytes that have to be fetched; null when nothing is shorter than the whole. An outer
 * momentum that has gone on meanwhile would not lead to the same weights.
 */
async function nearestWeights(
  { weights, merges }: LoadableCheckpoint,
  { place, parameters, blobs }: Loading,
): Promise<EarlierWeights | null> {
  if (place.training.outerMomentum !== 0) return null;
  let nearest: EarlierWeights | null = null;
  let leastBytes = weights.bytes - (await blobs.bytesHere(weights));
  for (const [index, { from }] of merges.entries()) {
    const earlier = { weights: { ...weights, hash: from }, merges: merges.slice(index) };
    const bytesOfMerges = replayBytes(earlier.merges, place, parameters);
    if (bytesOfMerges === null) continue;
    const bytes = weights.bytes - (await blobs.bytesHere(earlier.weights)) + bytesOfMerges;
    if (bytes >= leastBytes) continue;
    nearest = earlier;
    leastBytes = bytes;
  }
  return nearest;
}

/** From a miner that holds it, else from the blob store; either way its hash is checked. What has come is not fetched again. */
function fetchPart(
  ref: BlobRef,
  holders: readonly MinerId[],
  { blobs, peerBlobs, signal }: Pick<Loading, "blobs" | "peerBlobs" | "signal">,
): Promise<Uint8Array> {
  if (holders.length === 0) return blobs.get(ref, { signal });
  return blobs.get(ref, { signal, elsewhere: (partial) => peerBlobs.get(ref, holders, { signal, partial }) });
}

/** Null when others did not have, or had not what they should: there is another way. What is wrong with the worker is wrong with any. */
export async function orNull<T>(attempt: () => Promise<T>, signal: AbortSignal): Promise<T | null> {
  try {
    return await attempt();
  } catch (error) {
    const code = failureOf(error)?.code;
    if (signal.aborted || code === undefined || code === "compute-crashed" || code === "memory-full") throw error;
    return null;
  }
}
