/**
 * What anyone may see of a run: the orchestrator's public view of it, as dashboards and the CLI show it. Losses are in
 * nats per token (with the byte tokenizer: per byte), credits in integer micro-credits, times in milliseconds since 1970.
 */
import { z } from "zod";
import { blobRefSchema, minerIdSchema, runIdSchema } from "./ids.ts";
import { linkReportSchema } from "./link-report.ts";
import { placementViewSchema } from "./placement-view.ts";
import { planSchema } from "./plan-view.ts";
import { boundaryFormatsSchema } from "./run-config.ts";

const count = z.int().nonnegative();

export const phaseSchema = z.enum([
  /** A stage has no miner. */
  "waiting",
  /** Replicas load the epoch's starting weights. */
  "preparing",
  "training",
  /** Replicas hand what they contribute to those who average it. */
  "uploading",
  /** Replicas average the contributions and take the step. */
  "merging",
  /** The run is to rest, and what was merged last goes into the blob store first. */
  "storing",
  "paused",
  "finished",
]);
export type Phase = z.infer<typeof phaseSchema>;

export const replicaViewSchema = z.object({
  minerId: minerIdSchema,
  name: z.string(),
  /** `warming-up`: has a place, trains from the next epoch on. `lost`: gone, its place is free. */
  state: z.enum(["warming-up", "preparing", "training", "lost"]),
});
export type ReplicaView = Readonly<z.infer<typeof replicaViewSchema>>;

export const stageViewSchema = z.object({
  index: count,
  fromLayer: count,
  toLayer: count,
  parameters: count,
  replicas: z.array(replicaViewSchema).readonly(),
});
export type StageView = Readonly<z.infer<typeof stageViewSchema>>;

/** One finished epoch. */
export const epochRecordSchema = z.object({
  epoch: count,
  /** Trained since the run began, at the end of this epoch. */
  tokens: count,
  trainLossNats: z.number().nullable(),
  finishedAtMs: z.number(),
  durationMs: z.number(),
  /** Miners whose contribution was merged. */
  contributors: count,
  /** Parts of the model that kept their previous value because nobody was left who could average them. */
  partitionsLost: count,
});
export type EpochRecord = Readonly<z.infer<typeof epochRecordSchema>>;

/** What the merged model of one epoch was found to be worth, on text nobody trains on. */
export const evaluationSchema = z.object({
  epoch: count,
  /** Trained when this checkpoint was made: the x axis of the loss chart. */
  tokens: count,
  validationLossNats: z.number(),
  validationTokens: count,
  /** Text that the model wrote, and the prompt it was given; null when the model was not asked to. */
  sample: z.object({ prompt: z.string(), text: z.string() }).nullable(),
});
export type Evaluation = Readonly<z.infer<typeof evaluationSchema>>;

export const runLogEntrySchema = z.object({
  /** Counts up over the run: the order of events. */
  sequence: count,
  atMs: z.number(),
  level: z.enum(["info", "warning", "error"]),
  text: z.string(),
});
export type RunLogEntry = Readonly<z.infer<typeof runLogEntrySchema>>;

export const checkpointSchema = z.object({
  /** The epoch that starts from it. */
  epoch: count,
  tokens: count,
  /** One per stage, first stage first. */
  stages: z.array(z.object({ weights: blobRefSchema, optimizer: blobRefSchema })).readonly(),
});
export type Checkpoint = Readonly<z.infer<typeof checkpointSchema>>;

/** What gave rise to sending more bits across a stage boundary. */
export const boundaryAlarmSchema = z.object({
  /** At whose end the boundary lies. */
  stage: count,
  epoch: count,
  atMs: z.number(),
  kind: z.enum([
    /** Values that are no numbers. */
    "not-finite",
    /** The stream's norm runs away against its own history. */
    "runaway",
    /** Too much is rounded away. */
    "rounding",
  ]),
});
export type BoundaryAlarm = Readonly<z.infer<typeof boundaryAlarmSchema>>;

export const boundaryViewSchema = z.object({
  /** At whose end it lies. */
  stage: count,
  /** Of the last epoch, over the replicas' means: the stream's root mean square, and what was rounded away relative to it. */
  rms: z.number().nonnegative(),
  relativeError: z.number().nonnegative(),
});

/** What a run sends as it is compressed now. */
export const transmissionViewSchema = z.object({
  /** Channels that cross a stage boundary: the model's width, or its bottleneck's rank. */
  columns: count,
  forwardBytesPerToken: z.number().nonnegative(),
  backwardBytesPerToken: z.number().nonnegative(),
  /** By how much that is less than the full width in bf16, both ways together. */
  boundaryRatio: z.number().positive(),
  /** Of one replica's contribution, and of what an optimizer step moved; null: steps are not exchanged. */
  mergeBytesPerParameter: z.number().nonnegative(),
  exchangeBytesPerParameter: z.number().nonnegative().nullable(),
});
export type TransmissionView = Readonly<z.infer<typeof transmissionViewSchema>>;

export const runViewSchema = z.object({
  runId: runIdSchema,
  name: z.string(),
  preset: z.string(),
  parameters: count,
  layers: count,
  width: count,
  vocabulary: count,
  tokenizer: z.string(),
  mode: z.enum(["sync", "local-steps"]),
  /** That one microbatch trains on. */
  microbatchTokens: count,
  /** Stop after so many tokens; null: never. */
  targetTokens: count.nullable(),
  phase: phaseSchema,
  /** Why the run is not training, in words; empty while it is. */
  reason: z.string(),
  epoch: count,
  attempt: count,
  /** When the current phase began. */
  phaseSinceMs: z.number(),
  tokens: count,
  microbatchesLost: count,
  /** Since the run began; see the epochs. */
  partitionsLost: count,
  stages: z.array(stageViewSchema).readonly(),
  /** Why the miners hold what they hold; null before anybody was placed. */
  placement: placementViewSchema.nullable(),
  /** What the members' connections carry, as far as they said so. */
  links: z.record(minerIdSchema, linkReportSchema),
  /** Micro-credits earned so far. */
  credits: z.record(minerIdSchema, count),
  /** The last that lies in the blob store, whole. What was merged since has credited nobody yet. */
  checkpoint: checkpointSchema.nullable(),
  /** A later one on its way there; null: none is. */
  checkpointUpload: z.object({ epoch: count, tokens: count, storedStages: count }).nullable(),
  /** What crosses stage boundaries in this epoch. */
  boundaryFormats: boundaryFormatsSchema,
  transmission: transmissionViewSchema,
  /** How it looked there, as far as it was measured. */
  boundaries: z.array(boundaryViewSchema).readonly(),
  /** The last ones, latest last. */
  alarms: z.array(boundaryAlarmSchema).readonly(),
  /** What compression costs as it is, and as it would best be on the links that the members have. */
  plan: z.object({ current: planSchema, recommended: planSchema }),
});
/** The part of a run that changes in place. Its growing lists travel beside it. */
export type RunView = Readonly<z.infer<typeof runViewSchema>>;

export const runDetailsSchema = z.object({
  run: runViewSchema,
  epochs: z.array(epochRecordSchema).readonly(),
  evaluations: z.array(evaluationSchema).readonly(),
  log: z.array(runLogEntrySchema).readonly(),
});
export type RunDetails = Readonly<z.infer<typeof runDetailsSchema>>;

/** One run among those of a network. */
export const runSummarySchema = z.object({
  runId: runIdSchema,
  name: z.string(),
  preset: z.string(),
  phase: phaseSchema,
  /** Why the run is not training, in words; empty while it is. */
  reason: z.string(),
  /** Its share of the network's capacity is in proportion to it. */
  weight: count,
  /** That work for it at the moment. */
  miners: count,
  epoch: count,
  tokens: count,
  targetTokens: count.nullable(),
  /** Of the last epoch, and of the last checkpoint that was evaluated; null before the first. */
  trainLossNats: z.number().nullable(),
  validationLossNats: z.number().nullable(),
});
export type RunSummary = Readonly<z.infer<typeof runSummarySchema>>;

/** Short-lived measurements, sent about once a second and never stored. */
export const telemetrySchema = z.object({
  atMs: z.number(),
  /** Of the current epoch. */
  microbatchesDone: count,
  microbatchesPlanned: count,
  /** Mean training loss over the last reports; null before the first. */
  trainLossNats: z.number().nullable(),
  /** Of the current epoch, over all replicas: passed on to another replica than the first that was chosen. */
  microbatchesRerouted: count,
  /** Likewise: dropped because their step was over. */
  microbatchesStale: count,
  /** Likewise: peer messages that were dropped because they were not what their sender signed. */
  messagesDamaged: count,
  /** Optimizer steps between a microbatch's forward and its backward pass, in the current epoch. */
  staleness: z.object({ mean: z.number().nonnegative(), most: count }),
  miners: z
    .array(
      z.object({
        minerId: minerIdSchema,
        /** Backward-passed tokens per second. */
        tokensPerSecond: z.number().nonnegative(),
        microbatchesInFlight: count,
        memoryBytes: count,
      }),
    )
    .readonly(),
  /** Messages that went from one miner to another since the last telemetry. */
  flows: z
    .array(z.object({ from: minerIdSchema, to: minerIdSchema, kind: z.enum(["forward", "backward"]), messages: count }))
    .readonly(),
});
export type Telemetry = Readonly<z.infer<typeof telemetrySchema>>;

/** One pushed update. A list holds only what is new. */
export const runUpdateSchema = z.object({
  runId: runIdSchema,
  view: runViewSchema.optional(),
  epochs: z.array(epochRecordSchema).readonly().optional(),
  evaluations: z.array(evaluationSchema).readonly().optional(),
  log: z.array(runLogEntrySchema).readonly().optional(),
  telemetry: telemetrySchema.optional(),
});
export type RunUpdate = Readonly<z.infer<typeof runUpdateSchema>>;
