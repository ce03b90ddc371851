/**
 * How much memory a stage will take, known before any of it is taken, and what to do when there is not enough: keep less of each
 * microbatch, or refuse. The figures are counted by the functions that allocate, so they cannot disagree with them.
 */
import { DeviceMemoryError } from "../kernels.ts";
import { errorFeedbackBytes as feedbackBytes } from "../merge/error-feedback.ts";
import { stepExchangeBytes, stepResidualBytes } from "../step-exchange.ts";
import type { ModelConfig, StageSpec, TrainingConfig } from "./config.ts";
import { countElements, elementBytes } from "./memory.ts";
import { createReplicaMemory, takeReplicaMemory } from "./replica-memory.ts";
import { allocateActivations, allocateStage, type StageSize } from "./stage-memory.ts";

export interface MemoryPlan {
  readonly weightsBytes: number;
  readonly gradientsBytes: number;
  /** The optimizer's moments, the weights at the epoch's start, and what merging needs. Taken when training needs it. */
  readonly optimizerBytes: number;
  /** What was rounded away of contributions, and of steps, in the computer's memory rather than the device's. Taken when first needed. */
  readonly errorFeedbackBytes: number;
  /** What steps moved, of this replica and of others, likewise: on its way, and while it is averaged. */
  readonly exchangeBytes: number;
  /** What all microbatches share, and the back end's own working space. */
  readonly scratchBytes: number;
  readonly activationsPerMicrobatchBytes: number;
  readonly microbatchesInFlight: number;
  /** Whether backward passes compute activations again instead of keeping them. */
  readonly recompute: boolean;
  /** All of it, with so many microbatches in flight. */
  readonly totalBytes: number;
}

/** What is trained. */
interface Work {
  readonly model: ModelConfig;
  readonly stage: StageSpec;
  readonly training: TrainingConfig;
}

export interface MemoryNeeds {
  /** How many microbatches are to be in flight at once. */
  readonly microbatchesInFlight: number;
  /** What the back end's kernels take for themselves. */
  readonly workspaceBytes: number;
}

/** What a stage takes with activations kept, or recomputed. */
export function stageMemory(
  { model, stage, training }: Work,
  { microbatchesInFlight, workspaceBytes }: MemoryNeeds,
  recompute: boolean,
): MemoryPlan {
  const size: StageSize = { maximumTokens: training.sequencesPerMicrobatch * training.sequenceLength, recompute };
  let [parameters, allocated] = [0, 0];
  const total = countElements((memory) => {
    const open = allocateStage(memory, model, stage, size);
    parameters = open.layout.length;
    allocated = memory.elements;
    allocateActivations(open);
  });
  const weightsBytes = elementBytes * parameters;
  const optimizerBytes =
    elementBytes *
    countElements((memory) => takeReplicaMemory(createReplicaMemory(memory, training, parameters), training));
  const errorFeedbackBytes =
    feedbackBytes(training.compression.merge, parameters) + stepResidualBytes(training, parameters);
  const exchangeBytes = stepExchangeBytes(training, parameters);
  const scratchBytes = elementBytes * (allocated - 2 * parameters) + workspaceBytes;
  const activationsPerMicrobatchBytes = elementBytes * (total - allocated);
  return {
    weightsBytes,
    gradientsBytes: weightsBytes,
    optimizerBytes,
    errorFeedbackBytes,
    exchangeBytes,
    scratchBytes,
    activationsPerMicrobatchBytes,
    microbatchesInFlight,
    recompute,
    totalBytes:
      2 * weightsBytes +
      optimizerBytes +
      errorFeedbackBytes +
      exchangeBytes +
      scratchBytes +
      microbatchesInFlight * activationsPerMicrobatchBytes,
  };
}

/**
 * The fastest way to train the stage within `limitBytes`. Throws `DeviceMemoryError`, saying what takes how much and by how much it
 * is too much, when there is none.
 */
export function planStageMemory(
  work: Work,
  needs: MemoryNeeds,
  limitBytes: number = Number.POSITIVE_INFINITY,
): MemoryPlan {
  const plans = [false, true].map((recompute) => stageMemory(work, needs, recompute));
  const fitting = plans.find(({ totalBytes }) => totalBytes <= limitBytes);
  if (fitting) return fitting;
  const smallest = plans.reduce((a, b) => (b.totalBytes < a.totalBytes ? b : a));
  const what = `stage ${work.stage.index + 1} of ${work.stage.count}: ${explain(smallest, limitBytes)}`;
  throw new DeviceMemoryError(smallest.totalBytes, `a limit of ${inMebibytes(limitBytes)}`, what);
}

function explain(plan: MemoryPlan, limitBytes: number): string {
  const inFlight = plan.microbatchesInFlight * plan.activationsPerMicrobatchBytes;
  const parts = [
    `weights ${inMebibytes(plan.weightsBytes)}`,
    `gradients ${inMebibytes(plan.gradientsBytes)}`,
    `optimizer ${inMebibytes(plan.optimizerBytes)}`,
    `error feedback ${inMebibytes(plan.errorFeedbackBytes)}`,
    `exchange of steps ${inMebibytes(plan.exchangeBytes)}`,
    `working space ${inMebibytes(plan.scratchBytes)}`,
    `${plan.microbatchesInFlight} microbatches in flight ${inMebibytes(inFlight)}`,
  ];
  const missing = inMebibytes(plan.totalBytes - limitBytes);
  return `it takes ${inMebibytes(plan.totalBytes)}, which is ${missing} too much (${parts.join(", ")})`;
}

function inMebibytes(bytes: number): string {
  return `${Math.ceil(bytes / 2 ** 20)} MiB`;
}
