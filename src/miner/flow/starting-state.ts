/**
 * Brings the compute worker to the state that an epoch starts from: initial weights or a checkpoint, unless it holds
 * exactly that already because it merged it a moment ago.
 */
import { optimizerStateLength } from "../../compute/model/optimizer-state.ts";
import type { DeviceChoice } from "../../protocol/device-report.ts";
import { FailureError } from "../../protocol/failure.ts";
import { floatsOf } from "../../protocol/identity.ts";
import type { BlobHash } from "../../protocol/ids.ts";
import type { BlobClient } from "../../transport/blobs/blob-client.ts";
import type { ComputeEngine } from "../compute-host/compute-worker.ts";
import { deviceOptions } from "../probe/device-options.ts";
import { stageBudget } from "../stage-budget.ts";
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
  /** Of the daemon and its compute worker together. */
  readonly memoryLimitBytes: number;
}

export function holdsStartOf(place: Place, held: HeldState | null, engine: ComputeEngine): held is HeldState {
  if (held === null || held.engine !== engine || held.epoch !== place.at.epoch || !sameStage(held.openedFor, place))
    return false;
  return place.checkpoint === null || place.checkpoint.weights.hash === held.weightsHash;
}

/** Rejects with `FailureError` of the blobs and of the engine, and with state-corrupt when the checkpoint does not fit the stage. */
export async function loadStart(
  place: Place,
  engine: ComputeEngine,
  device: Device,
  blobs: Pick<BlobClient, "get">,
  signal: AbortSignal,
): Promise<HeldState> {
  const { stage, model, training, checkpoint, at } = place;
  const budget = stageBudget(place, device.memoryLimitBytes);
  const options = deviceOptions(device, device.threads);
  const { parameters, memory } = await engine.call("open", { ...options, model, stage, training, ...budget });
  signal.throwIfAborted();
  const held = { engine, openedFor: place, parameters, memoryBytes: memory.totalBytes, epoch: at.epoch };
  if (checkpoint === null) {
    return { ...held, weightsHash: await engine.call("weightsHash") };
  }
  const [weights, optimizer] = await Promise.all([
    blobs.get(checkpoint.weights, { signal }),
    blobs.get(checkpoint.optimizer, { signal }),
  ]);
  signal.throwIfAborted();
  if (weights.length !== 4 * parameters || optimizer.length !== 4 * optimizerStateLength(training.mode, parameters))
    throw new FailureError("state-corrupt", "The checkpoint does not fit the stage.");
  await engine.call("load", { weights: floatsOf(weights), optimizer: floatsOf(optimizer) });
  return { ...held, weightsHash: checkpoint.weights.hash };
}
