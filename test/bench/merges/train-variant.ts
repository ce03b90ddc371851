/** Trains one variant from its seed, and measures what it has learned on text that it was not trained on. */
import type { TrainingConfig } from "../../../src/compute/model/config.ts";
import { stageLayout } from "../../../src/compute/model/layout.ts";
import { presets } from "../../../src/compute/model/presets.ts";
import { cutIntoStages, parameterCount, wholeModel } from "../../../src/compute/model/stages.ts";
import { NonFiniteError } from "../../../src/compute/non-finite.ts";
import { assertNever } from "../../../src/protocol/assert-never.ts";
import { noCompression } from "../../../src/protocol/run-config.ts";
import { trainPipeline } from "../boundary/train-pipeline.ts";
import type { Dataset } from "../shared/bundled-dataset.ts";
import { byteModel } from "../shared/byte-model.ts";
import { type BenchDevice, heldOutLossNats } from "../shared/held-out-loss.ts";
import { DelayedSteps } from "./delayed-steps.ts";
import {
  type DelayedSchedule,
  type Outcome,
  type ReplicasSchedule,
  sequenceLength,
  sequencesPerStep,
  stepsOf,
  type Variant,
} from "./schedule.ts";
import { trainReplicas } from "./train-replicas.ts";

export interface VariantRun {
  readonly variant: Variant;
  readonly dataset: Dataset;
  readonly device: BenchDevice;
}

type Learned = Pick<Outcome, "lossNats"> & Partial<Outcome>;

/** The last share of the steps brings the learning rate down to zero. */
const decay = 0.2;
const longestWarmup = 20;

export async function trainVariant(run: VariantRun): Promise<Outcome> {
  const startMs = performance.now();
  const learned = await lossOf(run).catch((error: unknown): Learned => {
    if (error instanceof NonFiniteError) return { lossNats: null };
    throw error;
  });
  return {
    parameters: parameterCount(modelOf(run.variant)),
    steps: stepsOf(run.variant),
    contributionBytesPerParameter: null,
    averageBytesPerParameter: null,
    exchangeBytesPerParameter: null,
    ...learned,
    seconds: (performance.now() - startMs) / 1000,
  };
}

function lossOf(run: VariantRun): Promise<Learned> {
  const { schedule } = run.variant;
  switch (schedule.kind) {
    case "one-process":
      return trainAlone(run, 1);
    case "lone-replica":
      return trainAlone(run, schedule.replicas);
    case "replicas":
      return trainTogether(run, schedule);
    case "delayed":
      return trainDelayed(run, schedule);
    default:
      return assertNever(schedule);
  }
}

/** On one of so many equal shares of the sequences. */
async function trainAlone({ variant, dataset, device }: VariantRun, shares: number): Promise<Learned> {
  const model = modelOf(variant);
  const training = trainingOf(variant, shares, { stepsPerEpoch: stepsOf(variant) });
  const options = { model, training, dataset, device };
  const { weights } = await trainReplicas({ ...options, replicas: 1, steps: stepsOf(variant) });
  return { lossNats: await heldOutLossNats(options, weights) };
}

async function trainTogether(
  { variant, dataset, device }: VariantRun,
  { replicas, mode, stepsPerEpoch, merge, exchange, beta2 = presets.demo.training.beta2 }: ReplicasSchedule,
): Promise<Learned> {
  const model = modelOf(variant);
  const compression = { ...noCompression, merge, exchange };
  const training = trainingOf(variant, replicas, { mode, stepsPerEpoch, compression, beta2 });
  const options = { model, training, dataset, device };
  const trained = await trainReplicas({ ...options, replicas, steps: stepsOf(variant) });
  const parameters = parameterCount(model);
  return {
    lossNats: await heldOutLossNats(options, trained.weights),
    contributionBytesPerParameter: trained.contributions.bytesPerParameter(parameters),
    averageBytesPerParameter: trained.averages.bytesPerParameter(parameters),
    exchangeBytesPerParameter: trained.movements.bytesPerParameter(parameters),
  };
}

async function trainDelayed(
  { variant, dataset, device }: VariantRun,
  { delays, optimizer }: DelayedSchedule,
): Promise<Learned> {
  const model = modelOf(variant);
  const stages = delays.length === 1 ? [wholeModel(model)] : cutIntoStages(model, delays.length);
  const lengths = stages.map((stage) => stageLayout(model, stage).length);
  const { validationLossNats } = await trainPipeline({
    ...{ model, stages, dataset, device },
    training: trainingOf(variant, 1, { mode: "sync", optimizer }),
    steps: stepsOf(variant),
    trainsLastStageOnly: false,
    stepping: new DelayedSteps(delays, lengths),
    onStep: () => {},
  });
  return { lossNats: validationLossNats };
}

function modelOf({ width, layers }: Variant) {
  return byteModel({ width, layers, context: sequenceLength });
}

/** As the demo's, with merges that are plain averages. `shares`: replicas that a step's sequences are dealt out among. */
function trainingOf(variant: Variant, shares: number, changes: Partial<TrainingConfig>): TrainingConfig {
  const steps = stepsOf(variant);
  const decaySteps = Math.max(1, Math.round(decay * steps));
  const warmupSteps = Math.min(longestWarmup, steps);
  return {
    ...presets.demo.training,
    ...{ sequenceLength, sequencesPerMicrobatch: sequencesPerStep / shares, microbatchesPerStep: 1, stepsPerEpoch: 1 },
    ...{ learningRate: variant.learningRate, warmupSteps, seed: variant.seed },
    schedule: { kind: "wsd", stableSteps: Math.max(0, steps - warmupSteps - decaySteps), decaySteps, floor: 0 },
    ...{ outerLearningRate: 1, outerMomentum: 0 },
    ...changes,
  };
}
