/**
 * What a model is: the architecture's numbers, how it is cut into stages, and how it is trained.
 * Plain data, validated here because it arrives over the network.
 */
import { z } from "zod";

const count = z.int().positive();

/** Llama-style decoder (Touvron 2023): RMSNorm, grouped-query attention with rotary positions, SwiGLU, untied head. */
export const modelConfigSchema = z
  .strictObject({
    /** Token ids run from 0 to vocabulary − 1. */
    vocabulary: count.max(1 << 20),
    /** Channels of the residual stream. */
    width: count.max(1 << 16),
    layers: count.max(1024),
    heads: count.max(1024),
    keyValueHeads: count.max(1024),
    /** Channels inside the SwiGLU. */
    feedForward: count.max(1 << 18),
    /** Longest sequence the model is trained on, in tokens. */
    context: count.max(1 << 20),
    rotaryBase: z.number().positive(),
    normEpsilon: z.number().positive(),
  })
  .refine((config) => config.width % config.heads === 0, { error: "width must be a multiple of heads" })
  .refine((config) => (config.width / config.heads) % 2 === 0, { error: "channels per head must be even" })
  .refine((config) => config.heads % config.keyValueHeads === 0, {
    error: "heads must be a multiple of keyValueHeads",
  });
export type ModelConfig = Readonly<z.infer<typeof modelConfigSchema>>;

/**
 * A contiguous slice of the model's layers: `fromLayer` inclusive, `toLayer` exclusive. The first stage also holds the
 * embedding, the last one the final norm and the output head.
 */
export const stageSpecSchema = z
  .strictObject({
    index: z.int().nonnegative(),
    count,
    fromLayer: z.int().nonnegative(),
    toLayer: count,
  })
  .refine((stage) => stage.index < stage.count && stage.fromLayer < stage.toLayer, { error: "not a stage" });
export type StageSpec = Readonly<z.infer<typeof stageSpecSchema>>;

/** What the learning rate does behind its warm-up. `floor`: the share of it that is left in the end. */
const learningRateScheduleSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("constant") }),
  /** Half a cosine wave down to the floor within `decaySteps` (Loshchilov & Hutter 2017). */
  z.strictObject({ kind: z.literal("cosine"), decaySteps: count, floor: z.number().min(0).max(1) }),
  /** Warm-up, stable, decay (Hu 2024), decaying along a line as in Hägele 2024. */
  z.strictObject({
    kind: z.literal("wsd"),
    stableSteps: z.int().nonnegative(),
    decaySteps: count,
    floor: z.number().min(0).max(1),
  }),
]);

/** The keys with defaults are those that runs were once defined without. */
export const trainingConfigSchema = z.strictObject({
  /**
   * `sync`: replicas average their gradients and then take the same optimizer step; one step per epoch.
   * `local-steps`: every replica steps by itself; at the epoch's end the pseudo-gradients are averaged and the outer step is taken.
   */
  mode: z.enum(["sync", "local-steps"]),
  /** Tokens per sequence. */
  sequenceLength: count,
  /** Sequences per microbatch. */
  sequencesPerMicrobatch: count,
  /** Microbatches that each source (a first-stage replica) sends per optimizer step. */
  microbatchesPerStep: count,
  /** Optimizer steps per epoch (H, the merge interval). 1 in `sync` mode. */
  stepsPerEpoch: count,
  /**
   * Optimizer steps by which a microbatch may be ahead of the replica that computes it. 0: a replica steps when every source has
   * all its microbatches of the step back, and computes nothing of the next one before (flush before step). More keeps the
   * pipeline fuller and costs loss (Yang 2021, "PipeMare", §3); `nadam` makes it cost less.
   */
  maximumStaleness: z.int().nonnegative().default(0),
  learningRate: z.number().positive(),
  /** Optimizer steps of linear warm-up. */
  warmupSteps: z.int().nonnegative(),
  schedule: learningRateScheduleSchema.default({ kind: "constant" }),
  /** `nadam` raises beta1 in earlier stages, so a run's numbers then depend on its cut. */
  optimizer: z.enum(["adamw", "nadam"]).default("adamw"),
  beta1: z.number().min(0).lt(1),
  beta2: z.number().min(0).lt(1),
  epsilon: z.number().positive(),
  /** Applied to matrices, not to norm gains. */
  weightDecay: z.number().nonnegative(),
  /**
   * Longest mean gradient that a stage steps on, as the norm over the stage's parameters; longer ones are scaled down to it.
   * Null: no limit. As each stage has its own norm, a run's numbers then depend on its cut.
   */
  clipGradientNorm: z.number().positive().nullable().default(null),
  /** Outer Nesterov step on the averaged pseudo-gradient; 1 and 0 is a plain average. Unused in `sync` mode. */
  outerLearningRate: z.number().positive(),
  outerMomentum: z.number().min(0).lt(1),
  /** Seeds the initial weights and the order of the samples. */
  seed: z.int().nonnegative(),
});
export type TrainingConfig = Readonly<z.infer<typeof trainingConfigSchema>>;
