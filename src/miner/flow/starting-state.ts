/**
 * Brings the compute worker to the state that an epoch starts from: initial weights or a checkpoint, unless it holds
 * exactly that already because it merged it a moment ago. A checkpoint comes from a miner that holds it, else from the blob store.
 */
import { optimizerStateLength } from "../../compute/model/optimizer-state.ts";
import { stageBudget } from "../../compute/model/stage-budget.ts";
import type { DeviceChoice } from "../../protocol/device-report.ts";
import { FailureError, failureOf } from "../../protocol/failure.ts";
import { floatsOf } from "../../protocol/identity.ts";
import type { BlobHash, BlobRef, MinerId } from "../../protocol/ids.ts";
import type { BlobClient } from "../../transport/blobs/blob-client.ts";
import type { PeerBlobs } from "../../transport/peer-blobs.ts";
import type { ComputeEngine } from "../compute-host/compute-worker.ts";
import { deviceOptions } from "../probe/device-options.ts";
import { type Place, sameStage } from "./place.ts";

/** What an engine was opened for, and the epoch whose starting weights it holds, if any. */
export interface HeldState {
  readonly engine: ComputeEngine;
  readonly openedFor: Place;
  readonly parameters: number;
  readonly memoryBytes: number;
  readonly epoch: number | null;
  readonly weightsHash: BlobHash;
}

/** What the replica holds at the moment, as all its acts see it. */
export class Holding {
  current: HeldState | null = null;

  /** Throws when nothing is loaded: a bug. */
  get loaded(): HeldState {
    if (this.current === null) throw new Error("nothing is loaded");
    return this.current;
  }
}

export interface Device extends DeviceChoice {
  readonly threads: number;
}

/** Where a checkpoint may come from. */
export interface CheckpointSources {
  readonly blobs: Pick<BlobClient, "get">;
  readonly peerBlobs: Pick<PeerBlobs, "get">;
}

export function holdsStartOf(place: Place, held: HeldState | null, engine: ComputeEngine): held is HeldState {
  if (held === null || held.engine !== engine || held.epoch !== place.at.epoch || !sameStage(held.openedFor, place))
    return false;
  // Initial weights are those of the first epoch, or are drawn anew when a run begins again.
  return place.checkpoint === null ? held.epoch === 0 : place.checkpoint.weights.hash === held.weightsHash;
}

/** Rejects with `FailureError` of the blobs and of the engine, with blob-not-found when nobody can hand the state out yet, and with state-corrupt when the checkpoint does not fit the stage. */
export async function loadStart(
  place: Place,
  engine: ComputeEngine,
  device: Device,
  sources: CheckpointSources,
  signal: AbortSignal,
): Promise<HeldState> {
  const { stage, model, training, checkpoint, at } = place;
  const budget = stageBudget(place, place.memoryLimitBytes);
  const options = deviceOptions(device, device.threads);
  const { parameters, memory } = await engine.call("open", {
    ...options,
    run: at.runId,
    model,
    stage,
    training,
    ...budget,
  });
  signal.throwIfAborted();
  const held = { engine, openedFor: place, parameters, memoryBytes: memory.totalBytes, epoch: at.epoch };
  if (checkpoint === null) {
    return { ...held, weightsHash: await engine.call("weightsHash") };
  }
  if (checkpoint.optimizer === null)
    throw new FailureError("blob-not-found", "Nobody can hand out what the epoch starts from yet.", { retry: true });
  const { optimizer, moments } = checkpoint;
  const expected = 4 * optimizerStateLength(training.mode, parameters);
  if (checkpoint.weights.bytes !== 4 * parameters || optimizer.bytes !== expected)
    throw new FailureError("state-corrupt", "The checkpoint does not fit the stage.");
  const fetch = (ref: BlobRef) => fetchPart(ref, checkpoint.holders, sources, signal);
  const weights = floatsOf(await fetch(checkpoint.weights));
  const isLoaded = moments !== null && (await loadMoments(engine, weights, () => fetch(moments), signal));
  if (!isLoaded) await engine.call("load", { weights, optimizer: floatsOf(await fetch(optimizer)) });
  return { ...held, weightsHash: checkpoint.weights.hash };
}

/** False when nobody has the optimizer's memory in this form any more, or it is none. */
async function loadMoments(
  engine: ComputeEngine,
  weights: Float32Array,
  fetch: () => Promise<Uint8Array>,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    await engine.call("load", { weights, moments: await fetch() });
    return true;
  } catch (error) {
    const code = failureOf(error)?.code;
    if (signal.aborted || code === undefined || code === "compute-crashed" || code === "memory-full") throw error;
    return false;
  }
}

/** From a miner that holds it, else from the blob store; either way its hash is checked. What has come is not fetched again. */
function fetchPart(
  ref: BlobRef,
  holders: readonly MinerId[],
  { blobs, peerBlobs }: CheckpointSources,
  signal: AbortSignal,
): Promise<Uint8Array> {
  if (holders.length === 0) return blobs.get(ref, { signal });
  return blobs.get(ref, { signal, elsewhere: (partial) => peerBlobs.get(ref, holders, { signal, partial }) });
}
