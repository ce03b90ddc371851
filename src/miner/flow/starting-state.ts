/**
 * Brings the compute worker to the state that an epoch starts from: initial weights or a checkpoint, unless it holds
 * exactly that already because it merged it a moment ago, or comes to it by the merges that it missed.
 */
import { optimizerStateLength } from "../../compute/model/optimizer-state.ts";
import { stageBudget } from "../../compute/model/stage-budget.ts";
import type { DeviceChoice } from "../../protocol/device-report.ts";
import { FailureError } from "../../protocol/failure.ts";
import type { BlobHash } from "../../protocol/ids.ts";
import type { ComputeEngine } from "../compute-host/compute-worker.ts";
import { replay, replayBytes } from "../merge/replay.ts";
import { deviceOptions } from "../probe/device-options.ts";
import { type CheckpointSources, loadCheckpoint, orNull } from "./load-checkpoint.ts";
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

export function holdsStartOf(place: Place, held: HeldState | null, engine: ComputeEngine): held is HeldState {
  if (held === null || held.engine !== engine || held.epoch !== place.at.epoch || !sameStage(held.openedFor, place))
    return false;
  // Initial weights are those of the first epoch, or are drawn anew when a run begins again.
  return place.checkpoint === null ? held.epoch === 0 : place.checkpoint.weights.hash === held.weightsHash;
}

/**
 * What a worker that held an earlier epoch's start comes to by the merges that it missed; null when it does not come to this one's, and
 * holds anything then. Rejects with the engine's failures.
 */
export async function catchUp(
  place: Place,
  held: HeldState | null,
  engine: ComputeEngine,
  { peerBlobs, log }: Pick<CheckpointSources, "peerBlobs" | "log">,
  signal: AbortSignal,
): Promise<HeldState | null> {
  const { checkpoint, at } = place;
  if (checkpoint === null || held === null || held.engine !== engine || !sameStage(held.openedFor, place)) return null;
  const { mergers: holders, merges, weights } = checkpoint;
  const first = merges.findIndex(({ from }) => from === held.weightsHash);
  if (first === -1) return null;
  const { parameters } = held;
  const missed = merges.slice(first);
  if (replayBytes(missed, place, parameters) === null) return null;
  const replayed = () => replay(missed, { place, parameters, engine, peerBlobs, holders, signal });
  const weightsHash = await orNull(replayed, signal);
  const isMade = weightsHash === weights.hash;
  log("debug", `${missed.length} missed merges ${isMade ? "led" : "did not lead"} to the current weights.`);
  return isMade ? { ...held, openedFor: place, epoch: at.epoch, weightsHash } : null;
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
  const { optimizer } = checkpoint;
  if (optimizer === null)
    throw new FailureError("blob-not-found", "Nobody can hand out what the epoch starts from yet.", { retry: true });
  const expected = 4 * optimizerStateLength(training.mode, parameters);
  if (checkpoint.weights.bytes !== 4 * parameters || optimizer.bytes !== expected)
    throw new FailureError("state-corrupt", "The checkpoint does not fit the stage.");
  await loadCheckpoint({ ...checkpoint, optimizer }, { place, parameters, engine, ...sources, signal });
  return { ...held, weightsHash: checkpoint.weights.hash };
}
