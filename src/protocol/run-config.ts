/**
 * What a model is: the architecture's numbers, how it is cut into stages, and how it is trained.
 * Plain data, validated here because it arrives over the network.
 */
import { z } from "zod";

const count = z.int().positive();

/** Of the residual stream, and of what is inside a bottleneck, in channels. */
export const maximumWidth = 1 << 16;

/** Llama-style decoder (Touvron 2023): RMSNorm, grouped-query attention with rotary positions, SwiGLU, untied head. */
export const modelConfigSchema = z
  .strictObject({
    /** Token ids run from 0 to vocabulary − 1. */
    vocabulary: count.max(1 << 20),
    /** Channels of the residual stream. */
    width: count.max(maximumWidth),
    layers: count.max(1024),
    heads: count.max(1024),
    keyValueHeads: count.max(1024),
    /** Channels inside the SwiGLU. */
    feedForward: count.max(1 << 18),
    /** Longest sequence the model is trained on, in tokens. */
    context: count.max(1 << 20),
    rotaryBase: z.number().positive(),
    normEpsilon: z.number().positive(),
    /**
     * Residual bottlenecks: before each of these layers the stream is squeezed to `rank` channels, so that a stage boundary there has
     * no more to send. They are part of the model, wherever it is cut. Left out: there are none.
     */
    bottleneck: z
      .strictObject({
        rank: count.max(maximumWidth),
        /** Channels inside the encoder and the decoder. */
        hidden: count.max(maximumWidth),
        /** Ascending, each behind the first layer. */
        beforeLayers: z.array(count.max(1024)).max(1024).readonly(),
      })
      .optional(),
  })
  .refine((config) => config.width % config.heads === 0, { error: "width must be a multiple of heads" })
  .refine((config) => (config.width / config.heads) % 2 === 0, { error: "channels per head must be even" })
  .refine((config) => config.heads % config.keyValueHeads === 0, {
    error: "heads must be a multiple of keyValueHeads",
  })
  .refine(({ bottleneck, width }) => bottleneck === undefined || bottleneck.rank < width, {
    error: "a bottleneck is narrower than the model",
  })
  .refine(({ bottleneck, layers }) => isAscendingWithin(bottleneck?.beforeLayers ?? [], layers), {
    error: "bottlenecks lie before layers 1 … layers − 1, in order",
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

/** How the numbers of a row cross a stage boundary: as they are, rounded, or in so many bits with a scale per row (`src/compute/codec/rows.ts`). */
export const rowFormatSchema = z.enum(["f32", "bf16", "int8", "int4", "int2"]);
export type RowFormat = z.infer<typeof rowFormatSchema>;

/** Of the activations on their way forward, and of their gradients on their way back. */
export const boundaryFormatsSchema = z.strictObject({ forward: rowFormatSchema, backward: rowFormatSchema });
export type BoundaryFormats = Readonly<z.infer<typeof boundaryFormatsSchema>>;

/**
 * How a long vector crosses between replicas (`src/compute/codec/vector.ts`). All but `f32` come with error feedback: what was rounded
 * away goes along the next time (Karimireddy 2019).
 */
export const vectorCodecSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("f32") }),
  /** Every number in so many bits. */
  z.strictObject({ kind: z.literal("dense"), bits: z.union([z.literal(1), z.literal(2), z.literal(4), z.literal(8)]) }),
  /** The largest numbers of each chunk, in two bits each: SparseLoCo (Sarfi 2025). `share`: of the numbers. */
  z.strictObject({ kind: z.literal("top-k"), share: z.number().positive().max(0.5) }),
]);
export type VectorCodec = Readonly<z.infer<typeof vectorCodecSchema>>;

/** How the movement of a step is sent, as people ask for it. `off`: it is not. */
export const exchangeNameSchema = z.enum(["off", "f32", "dense1", "dense2", "dense4", "dense8"]);
export type ExchangeName = z.infer<typeof exchangeNameSchema>;

/** Codecs of merges as people choose them: in so many bits, or so many percent of the numbers. */
export const mergeCodecNameSchema = z.enum(["f32", "dense1", "dense2", "dense4", "dense8", "topk1", "topk10"]);
export type MergeCodecName = z.infer<typeof mergeCodecNameSchema>;

export const mergeCodecs: Readonly<Record<MergeCodecName, VectorCodec>> = {
  f32: { kind: "f32" },
  dense1: { kind: "dense", bits: 1 },
  dense2: { kind: "dense", bits: 2 },
  dense4: { kind: "dense", bits: 4 },
  dense8: { kind: "dense", bits: 8 },
  topk1: { kind: "top-k", share: 0.01 },
  topk10: { kind: "top-k", share: 0.1 },
};
/** Who chooses how a run is compressed: the network's plan, or nobody. */
export const compressionChoiceSchema = z.enum(["auto", "off"]);
export type CompressionChoice = z.infer<typeof compressionChoiceSchema>;

export const compressionSchema = z.strictObject({
  boundary: boundaryFormatsSchema,
  /**
   * The replicas of a stage average what each optimizer step moved, at every step, next to the merge at the epoch's end
   * (`local-steps` only). `lag` 0: they wait for each other; 1: they go on meanwhile, and make up for it one step later. Null: they
   * meet at the merge only.
   */
  exchange: z.strictObject({ codec: vectorCodecSchema, lag: z.union([z.literal(0), z.literal(1)]) }).nullable(),
  /** Of the slices of a merge, on the way to their owners and back. */
  merge: vectorCodecSchema,
});
export type Compression = Readonly<z.infer<typeof compressionSchema>>;

/** Everything as it is. */
export const noCompression: Compression = {
  boundary: { forward: "f32", backward: "f32" },
  exchange: null,
  merge: { kind: "f32" },
};

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
  compression: compressionSchema.default(noCompression),
  /** Seeds the initial weights and the order of the samples. */
  seed: z.int().nonnegative(),
});
export type TrainingConfig = Readonly<z.infer<typeof trainingConfigSchema>>;

function isAscendingWithin(layers: readonly number[], end: number): boolean {
  return layers.every((layer, index) => layer < end && layer > (layers[index - 1] ?? 0));
}
