/** What a run is, fixed when it is created. */
import { z } from "zod";
import { stageLayout } from "../../../compute/model/layout.ts";
import { optimizerStateLength } from "../../../compute/model/optimizer-state.ts";
import { cutIntoStages, parameterCount } from "../../../compute/model/stages.ts";
import { blobRefSchema, runIdSchema } from "../../../protocol/ids.ts";
import {
  modelConfigSchema,
  type StageSpec,
  type TrainingConfig,
  trainingConfigSchema,
} from "../../../protocol/run-config.ts";
import { checkpointSchema } from "../../../protocol/run-view.ts";

const milliseconds = z.int().nonnegative();

const timeoutsSchema = z.strictObject({
  /** From when every stage has a miner until the run starts with fewer replicas than it would like. */
  gatherMs: milliseconds,
  /** For replicas to fetch and load their weights. */
  prepareMs: milliseconds,
  /** For the sources to get an epoch's microbatches through. */
  epochMs: milliseconds,
  /** For owners to fetch what replicas contribute. */
  uploadMs: milliseconds,
  /** For replicas to average partitions, again to apply them, and again to store. */
  mergeMs: milliseconds,
  /** For a miner whose session ended to come back to its places. */
  graceMs: milliseconds,
  /** Likewise for all of them when it was the orchestrator that was gone. */
  restartGraceMs: milliseconds,
});
export type Timeouts = Readonly<z.infer<typeof timeoutsSchema>>;

/** For a worker to start and a person's computer to be busy with something else meanwhile. */
const patienceMs = 60_000;
/** Weights and optimizer state: at most four f32 per parameter. */
const stateBytesPerParameter = 16;
/** The slowest home link that a replica is waited for. */
const slowLinkBytesPerMs = 1000;

/** A small stage is there at once, or its miner is stuck; moving a large one over a home link takes its time. */
export function defaultTimeouts(largestStageParameters: number): Timeouts {
  const transferMs = Math.ceil((largestStageParameters * stateBytesPerParameter) / slowLinkBytesPerMs);
  return {
    gatherMs: 20_000,
    prepareMs: patienceMs + transferMs,
    epochMs: 30 * 60_000,
    uploadMs: patienceMs + transferMs,
    mergeMs: patienceMs + transferMs,
    graceMs: 3000,
    restartGraceMs: 15_000,
  };
}

export const runDefinitionSchema = z.strictObject({
  runId: runIdSchema,
  name: z.string().min(1).max(64),
  preset: z.string().max(64),
  model: modelConfigSchema,
  training: trainingConfigSchema,
  tokenizer: z.string().max(64),
  /** Members are told this much. */
  dataset: z.strictObject({ manifest: blobRefSchema }),
  /** Where the owner's text was read, which is nobody else's business; null: the text that comes along. Not kept by the first versions. */
  dataPath: z.string().nullable().optional(),
  /** What the run begins with; null or left out: weights drawn from the seed. */
  firstCheckpoint: checkpointSchema.nullable().optional(),
  /** Where that was read, as the owner named it. */
  from: z.string().nullable().optional(),
  /** What follows from how the members' links are measured, and begins as `training` has it. */
  adapts: z
    .array(z.enum(["boundary-formats", "steps-per-epoch"]))
    .readonly()
    .optional(),
  /** Stages that the model is cut into. */
  stages: z.int().positive(),
  /** Replicas per stage that the start waits for, at most `gatherMs`. */
  minimumReplicas: z.int().positive(),
  /** Finish at the first epoch's end with so many trained tokens; null: never. */
  targetTokens: z.int().positive().nullable(),
  timeouts: timeoutsSchema,
});
export type RunDefinition = Readonly<z.infer<typeof runDefinitionSchema>>;

export interface StagePlan {
  readonly spec: StageSpec;
  readonly parameters: number;
}

/** Throws `RangeError` when the model cannot be cut so. */
export function planStages(definition: Pick<RunDefinition, "model" | "stages">): readonly StagePlan[] {
  const { model, stages } = definition;
  return cutIntoStages(model, stages).map((spec) => ({ spec, parameters: stageLayout(model, spec).length }));
}

/** The optimizer's state of the largest stage that the model can be cut into: the whole of it. */
export function largestBlobBytes({ model, training }: Pick<RunDefinition, "model" | "training">): number {
  return 4 * optimizerStateLength(training.mode, parameterCount(model));
}

export function modelParameters(definition: RunDefinition): number {
  return parameterCount(definition.model);
}

/** Tokens that one source sends in an epoch. */
export function tokensPerSource(training: TrainingConfig): number {
  return training.sequenceLength * training.sequencesPerMicrobatch * microbatchesPerSource(training);
}

/** Microbatches that one source sends in an epoch. */
export function microbatchesPerSource({ microbatchesPerStep, stepsPerEpoch }: TrainingConfig): number {
  return microbatchesPerStep * stepsPerEpoch;
}
