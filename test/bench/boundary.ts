/**
 * `npm run bench -- boundary`: what few bits and few channels at stage boundaries cost in loss, and save in bytes. Trains a model with
 * the product's engines, one per stage, on the bundled text, and the same model uncompressed from the same seed; both are measured on
 * text that neither was trained on.
 */
import os from "node:os";
import { z } from "zod";
import { decodeRows, encodeRows, type RowsShape, rowPayloadBytes } from "../../src/compute/codec/rows.ts";
import type { ModelConfig, TrainingConfig } from "../../src/compute/model/config.ts";
import { channelsBefore } from "../../src/compute/model/parts.ts";
import { presets } from "../../src/compute/model/presets.ts";
import { cutIntoStages, isFirstStage, parameterCount, wholeModel } from "../../src/compute/model/stages.ts";
import { noCompression, type RowFormat, rowFormatSchema } from "../../src/protocol/run-config.ts";
import { type PipelineResult, trainPipeline } from "./boundary/train-pipeline.ts";
import { bundledDataset } from "./shared/bundled-dataset.ts";
import { byteModel } from "./shared/byte-model.ts";
import { count, given, readFlags } from "./shared/flags.ts";
import { mean, printResult, progress, provenance, rounded } from "./shared/report.ts";

const [sequenceLength, sequencesPerMicrobatch, microbatchesPerStep] = [256, 4, 2];
const rows = sequenceLength * sequencesPerMicrobatch;
const share = z.coerce.number().min(0).max(1);
const flags = readFlags(
  z.object({
    width: count.default(256),
    layers: count.default(6),
    stages: count.default(3),
    /** Channels of the bottlenecks; 0: all channels cross. */
    rank: z.coerce.number().int().nonnegative().default(32),
    /** Channels inside them; a quarter of the width when left out. */
    hidden: count.optional(),
    forward: rowFormatSchema.default("int8"),
    backward: rowFormatSchema.default("int4"),
    tokens: count.default(500_000),
    seed: z.coerce.number().int().nonnegative().default(1),
    learningRate: z.coerce.number().positive().default(2e-3),
    /** Of the uncompressed run: its own best one makes the comparison fair. */
    baselineLearningRate: z.coerce.number().positive().optional(),
    /** At the end of training, this share of the steps brings the learning rate down to zero. */
    decay: share.default(0.2),
    /** The uncompressed run's loss, where it is known: it is not trained again. */
    baseline: z.coerce.number().positive().optional(),
    /** Trains nothing but the last stage, and nothing crosses back: what all the other stages are worth. */
    control: z.enum(["none", "last-stage"]).default("none"),
    backEnd: z.enum(["native", "webgpu"]).default("native"),
    precision: z.enum(["f32", "bf16", "f16"]).default("f32"),
    threads: count.default(os.availableParallelism()),
    json: given,
  }),
);

const plain = byteModel({ width: flags.width, layers: flags.layers, context: sequenceLength });
const stages = cutIntoStages(plain, flags.stages);
const bottleneck = {
  rank: flags.rank,
  hidden: flags.hidden ?? Math.ceil(flags.width / 4),
  beforeLayers: stages.flatMap((stage) => (isFirstStage(stage) ? [] : [stage.fromLayer])),
};
const model: ModelConfig = flags.rank === 0 ? plain : { ...plain, bottleneck };
const steps = Math.ceil(flags.tokens / (rows * microbatchesPerStep));
const dataset = await bundledDataset("bytes");
const shared = {
  dataset,
  steps,
  device: { backend: flags.backEnd, threads: flags.threads, precision: flags.precision },
} as const;

const baselineNats = flags.baseline ?? (await trainBaseline());
const compressed = await trainPipeline({
  ...shared,
  model,
  training: trainingAt(flags.learningRate, flags.forward, flags.backward),
  stages,
  trainsLastStageOnly: flags.control === "last-stage",
  onStep: reporting("compressed"),
});

const shape: RowsShape = { rows, columns: channelsBefore(model, bottleneck.beforeLayers[0] ?? 0) };
const bytesPerToken = (format: RowFormat) => rowPayloadBytes(format, shape) / rows;
const uncompressedBytesPerToken = 2 * flags.width; // bf16
const [forwardRatio, backwardRatio] = [flags.forward, flags.backward].map(
  (format) => uncompressedBytesPerToken / bytesPerToken(format),
);
printResult({
  ...{ width: flags.width, layers: flags.layers, stages: flags.stages, parameters: parameterCount(model) },
  ...{ rank: flags.rank, hidden: flags.rank === 0 ? null : bottleneck.hidden },
  ...{ forward: flags.forward, backward: flags.backward, control: flags.control, precision: flags.precision },
  ...{ tokens: steps * rows * microbatchesPerStep, steps, learningRate: flags.learningRate },
  decay: flags.decay,
  /** Bytes of both directions in bf16 at full width, over those of the payloads; and each direction's own. */
  ratio: rounded((2 * uncompressedBytesPerToken) / (bytesPerToken(flags.forward) + bytesPerToken(flags.backward)), 2),
  forwardRatio: rounded(forwardRatio ?? Number.NaN, 2),
  backwardRatio: flags.control === "last-stage" ? null : rounded(backwardRatio ?? Number.NaN, 2),
  validationLossNats: rounded(compressed.validationLossNats, 4),
  baselineLossNats: rounded(baselineNats, 4),
  gapPercent: rounded(100 * (compressed.validationLossNats / baselineNats - 1), 2),
  finalTrainingLossNats: rounded(mean(compressed.lossesNats.slice(-50)), 4),
  boundaries: compressed.boundaries.map(({ rms, relativeError }) => ({
    rms: rounded(rms, 3),
    relativeError: rounded(relativeError, 4),
  })),
  seconds: rounded(compressed.seconds, 1),
  codecShareOfTime: rounded(codecSeconds(compressed) / compressed.seconds, 4),
  ...provenance(flags.seed),
});

/** In one stage: where an uncompressed model is cut changes no bit of what it learns. */
async function trainBaseline(): Promise<number> {
  const { validationLossNats } = await trainPipeline({
    ...shared,
    model: plain,
    training: trainingAt(flags.baselineLearningRate ?? flags.learningRate),
    stages: [wholeModel(plain)],
    trainsLastStageOnly: false,
    onStep: reporting("uncompressed"),
  });
  progress(`uncompressed: ${validationLossNats.toFixed(4)} nats`);
  return validationLossNats;
}

function trainingAt(learningRate: number, forward: RowFormat = "f32", backward: RowFormat = "f32"): TrainingConfig {
  const base = presets.demo.training;
  const decaySteps = Math.max(1, Math.round(flags.decay * steps));
  const warmupSteps = Math.min(20, steps);
  return {
    ...base,
    mode: "local-steps",
    ...{ sequenceLength, sequencesPerMicrobatch, microbatchesPerStep },
    ...{ learningRate, warmupSteps, seed: flags.seed },
    schedule:
      flags.decay === 0
        ? { kind: "constant" }
        : { kind: "wsd", stableSteps: Math.max(0, steps - warmupSteps - decaySteps), decaySteps, floor: 0 },
    compression: { ...noCompression, boundary: { forward, backward } },
  };
}

/** What all of the run's encoding and decoding took, from how long it takes with the payloads of the last microbatch. */
function codecSeconds({ payloads }: PipelineResult): number {
  const repetitions = 20;
  const startMs = performance.now();
  for (let repetition = 0; repetition < repetitions; repetition++)
    for (const { forward, backward } of payloads) {
      encodeRows(decodeRows(forward, shape), shape, { format: flags.forward, noise: null });
      if (backward !== null)
        encodeRows(decodeRows(backward, shape), shape, { format: flags.backward, noise: repetition });
    }
  const perMicrobatch = (performance.now() - startMs) / 1000 / repetitions;
  return perMicrobatch * steps * microbatchesPerStep;
}

function reporting(name: string): (step: number, lossNats: number) => void {
  const every = Math.max(1, Math.floor(steps / 10));
  return (step, lossNats) => {
    if ((step + 1) % every === 0) progress(`${name}: step ${step + 1} of ${steps}, ${lossNats.toFixed(4)} nats`);
  };
}
