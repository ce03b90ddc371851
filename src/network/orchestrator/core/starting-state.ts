/**
 * What an epoch starts from, and who has it: plain data, part of the run's state. Replicas hold the state that they merged; one of
 * each stage copies it to its disk, for those who join later, and puts it into the blob store while the epoch trains. `keeping.ts`
 * sees to that.
 */
import { momentsBytes } from "../../../compute/codec/moments.ts";
import { optimizerStateLength } from "../../../compute/model/optimizer-state.ts";
import type { PastMerge } from "../../../protocol/gateway-messages.ts";
import type { BlobHash, BlobRef, MinerId } from "../../../protocol/ids.ts";
import type { TrainingConfig } from "../../../protocol/run-config.ts";
import type { Checkpoint } from "../../../protocol/run-view.ts";

/** A stage's weights and optimizer state. Replicas agree on the weights; each has an optimizer state of its own. */
export interface StateBlobs {
  readonly weights: BlobRef;
  readonly optimizer: BlobRef;
}

/** As a miner has it on its disk. */
export interface SnapshotBlobs extends StateBlobs {
  /** The optimizer's state in few bytes, for who joins; null in `sync` mode. */
  readonly moments: BlobRef | null;
}

export interface StartingState {
  /** That starts from it. */
  readonly epoch: number;
  /** Trained and merged by then. */
  readonly tokens: number;
  /** Attempt at the epoch before in which it was merged. */
  readonly mergedAttempt: number;
  readonly stages: readonly StageStart[];
}

export interface StageStart {
  readonly weightsHash: BlobHash;
  /** That led to it since the run began, or fell back; the last ones, in order. */
  readonly merges: readonly PastMerge[];
  /** Members whose replica holds it, and has not trained on it since. */
  readonly inStep: readonly MinerId[];
  /** Who has it on its disk, or was asked to copy it there. */
  readonly keeper: Keeper | null;
  /** Who was asked in vain. */
  readonly asked: readonly MinerId[];
  /** Once it lies in the blob store. */
  readonly stored: StateBlobs | null;
}

export interface Keeper {
  readonly minerId: MinerId;
  /** Null until it has said so. */
  readonly blobs: SnapshotBlobs | null;
  /** When it is given up; null: it has answered. */
  readonly untilMs: number | null;
}

/** A start on its way into the blob store. It may be an earlier one than the current epoch's. */
export interface CheckpointUpload extends Omit<StartingState, "stages"> {
  readonly deadlineMs: number;
  readonly stages: readonly StageUpload[];
}

export interface StageUpload extends StateBlobs {
  readonly storer: MinerId;
  readonly isStored: boolean;
}

/** How long the blobs of a stage's state are. Weights and optimizer state travel as raw f32. */
export function stateBlobBytes({ mode, outerMomentum }: TrainingConfig, parameters: number) {
  return {
    weights: 4 * parameters,
    optimizer: 4 * optimizerStateLength(mode, parameters),
    moments: mode === "sync" ? null : momentsBytes(parameters, outerMomentum !== 0),
  };
}

/** What a run goes on from that has nothing but the checkpoint; null: the initial weights. */
export function startFrom(checkpoint: Checkpoint | null, epoch: number): StartingState | null {
  if (checkpoint === null) return null;
  const { tokens, stages } = checkpoint;
  return {
    epoch,
    tokens,
    mergedAttempt: 0,
    stages: stages.map(({ weights, optimizer }) => ({
      weightsHash: weights.hash,
      merges: [],
      inStep: [],
      keeper: null,
      asked: [],
      stored: { weights, optimizer },
    })),
  };
}

/** Of the stage's state, as far as somebody hands it out. */
export function blobsOf({ stored, keeper }: StageStart): SnapshotBlobs | null {
  return keeper?.blobs ?? (stored && { ...stored, moments: null });
}

/** When one who was asked for a snapshot, or to store it, is given up; null: nobody was. */
export function keepingDeadlineMs({
  start,
  upload,
}: {
  readonly start: StartingState | null;
  readonly upload: CheckpointUpload | null;
}): number | null {
  const times = start?.stages.flatMap(({ keeper }) => keeper?.untilMs ?? []) ?? [];
  if (upload !== null) times.push(upload.deadlineMs);
  return times.length === 0 ? null : Math.min(...times);
}
