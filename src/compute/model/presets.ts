/** Models that a run can be started with by name, each with training settings to go with it. */
import { noCompression } from "../../protocol/run-config.ts";
import type { TokenizerId } from "../data/tokenizer.ts";
import type { ModelConfig, TrainingConfig } from "./config.ts";

export interface Preset {
  readonly model: ModelConfig;
  readonly training: TrainingConfig;
  /** The tokenizer that the vocabulary was sized for; it may use fewer ids than the model has. */
  readonly tokenizer: TokenizerId;
  /** Stages that the model is cut into unless the run says otherwise. */
  readonly stages: number;
}

export type PresetName = "tiny" | "demo" | "25m" | "100m" | "1b" | "8b" | "100b";

const bytes = { tokenizer: "bytes" } as const;
const byteModel = { vocabulary: 256, rotaryBase: 10_000, normEpsilon: 1e-5 } as const;
const gpt2 = { tokenizer: "gpt2" } as const;
const gpt2Model = { vocabulary: 50_257, rotaryBase: 500_000, normEpsilon: 1e-5 } as const;

/** AdamW as in Touvron 2023, §2.3, and the outer step of Douillard 2023, §3, with its momentum lowered for short epochs. */
const training: TrainingConfig = {
  mode: "local-steps",
  sequenceLength: 256,
  sequencesPerMicrobatch: 4,
  microbatchesPerStep: 4,
  stepsPerEpoch: 8,
  maximumStaleness: 0,
  learningRate: 6e-4,
  warmupSteps: 100,
  schedule: { kind: "constant" },
  optimizer: "adamw",
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-8,
  weightDecay: 0.1,
  clipGradientNorm: null,
  outerLearningRate: 0.7,
  outerMomentum: 0.6,
  compression: noCompression,
  seed: 1,
};

export const presets: Readonly<Record<PresetName, Preset>> = {
  /** For tests: every part of the architecture, in milliseconds. */
  tiny: {
    ...bytes,
    model: { ...byteModel, width: 32, layers: 3, heads: 4, keyValueHeads: 2, feedForward: 64, context: 32 },
    training: {
      ...training,
      sequenceLength: 32,
      sequencesPerMicrobatch: 2,
      microbatchesPerStep: 2,
      stepsPerEpoch: 2,
      learningRate: 3e-3,
      warmupSteps: 5,
    },
    stages: 3,
  },
  /** Learns to spell and to form words within minutes on a laptop's processor. */
  demo: {
    ...bytes,
    model: { ...byteModel, width: 256, layers: 6, heads: 8, keyValueHeads: 8, feedForward: 704, context: 256 },
    training: {
      ...training,
      sequencesPerMicrobatch: 1,
      microbatchesPerStep: 2,
      stepsPerEpoch: 16,
      learningRate: 3e-3,
      warmupSteps: 20,
      outerLearningRate: 1,
      outerMomentum: 0,
    },
    stages: 3,
  },
  "25m": {
    ...bytes,
    model: { ...byteModel, width: 512, layers: 8, heads: 8, keyValueHeads: 8, feedForward: 1376, context: 512 },
    training: { ...training, sequenceLength: 512, learningRate: 1e-3 },
    stages: 4,
  },
  "100m": {
    ...gpt2,
    model: { ...gpt2Model, width: 576, layers: 12, heads: 9, keyValueHeads: 3, feedForward: 1536, context: 1024 },
    training: { ...training, sequenceLength: 1024 },
    stages: 4,
  },
  "1b": {
    ...gpt2,
    model: { ...gpt2Model, width: 2048, layers: 22, heads: 32, keyValueHeads: 4, feedForward: 5632, context: 2048 },
    training: { ...training, sequenceLength: 1024, learningRate: 4e-4, warmupSteps: 500, stepsPerEpoch: 32 },
    stages: 6,
  },
  "8b": {
    ...gpt2,
    model: { ...gpt2Model, width: 4096, layers: 32, heads: 32, keyValueHeads: 8, feedForward: 14_336, context: 8192 },
    training: { ...training, sequenceLength: 1024, learningRate: 3e-4, warmupSteps: 1000, stepsPerEpoch: 64 },
    stages: 16,
  },
  /** The shape that Orion-100B publishes, without its bottlenecks: 99,615,863,808 parameters. */
  "100b": {
    tokenizer: "cl100k",
    model: {
      vocabulary: 128_256,
      width: 9216,
      layers: 90,
      heads: 72,
      keyValueHeads: 8,
      feedForward: 32_256,
      context: 8192,
      rotaryBase: 500_000,
      normEpsilon: 1e-5,
    },
    training: { ...training, sequenceLength: 800, learningRate: 1.5e-4, warmupSteps: 2000, stepsPerEpoch: 64 },
    stages: 23,
  },
};
