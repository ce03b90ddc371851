/**
 * `npm run bench -- parity`: trains the demo's model on the demo's text, on the same samples, once per engine, and compares
 * the losses that they end at with those of the processor in f32. What differs is how numbers are rounded, nothing else.
 */
import os from "node:os";
import { z } from "zod";
import { openDevice } from "../../src/compute/device.ts";
import { type ComputeEngine, createEngine } from "../../src/compute/engine.ts";
import { type PresetName, presets } from "../../src/compute/model/presets.ts";
import { trainSingleProcess } from "../../src/compute/single-process.ts";
import { bundledDataset } from "./shared/bundled-dataset.ts";
import { count, given, readFlags } from "./shared/flags.ts";
import { mean, printResult, progress, provenance, rounded, verdictOf } from "./shared/report.ts";

const engines = {
  "native-f32": { backend: "native", precision: "f32" },
  "native-bf16": { backend: "native", precision: "bf16" },
  "webgpu-f32": { backend: "webgpu", precision: "f32" },
} as const;
type EngineName = keyof typeof engines;

const presetNames = Object.keys(presets) as [PresetName, ...PresetName[]];
const flags = readFlags(
  z.object({
    steps: count.default(300),
    preset: z.enum(presetNames).default("demo"),
    /** Of one microbatch; the preset's when left out. Shorter ones make a software GPU bearable. */
    sequenceLength: count.optional(),
    threads: count.default(os.availableParallelism()),
    /** Engines to compare with the first, which is the yardstick. */
    engines: z
      .string()
      .default("native-f32,native-bf16,webgpu-f32")
      .transform((names) => names.split(","))
      .pipe(z.array(z.enum(Object.keys(engines) as [EngineName, ...EngineName[]])).min(2)),
    json: given,
  }),
);

/** The last losses are averaged. Few of them depend on chance: over 20 steps two instruction sets in f32 end 0.6 % apart, over 50 0.06 %. */
const smoothedSteps = Math.min(50, flags.steps);
const target = { atMost: 0.5 };

const preset = presets[flags.preset];
const training = {
  ...preset.training,
  sequenceLength: flags.sequenceLength ?? preset.training.sequenceLength,
};
const dataset = await bundledDataset(preset.tokenizer);

const curves: { readonly engine: EngineName; readonly seconds: number; readonly lossesNats: readonly number[] }[] = [];
for (const engine of flags.engines) {
  const startMs = performance.now();
  const { lossesNats } = await trainSingleProcess(withProgress(engine), {
    ...engines[engine],
    ...dataset,
    threads: flags.threads,
    model: preset.model,
    training,
    sources: Array(flags.steps).fill(1),
  });
  curves.push({ engine, seconds: (performance.now() - startMs) / 1000, lossesNats });
  progress(`${engine}: ended at ${mean(lossesNats.slice(-smoothedSteps)).toFixed(4)} nats`);
}

const [yardstick] = curves;
const results = curves.map(({ engine, seconds, lossesNats }) => {
  const finalLossNats = mean(lossesNats.slice(-smoothedSteps));
  const expected = yardstick?.lossesNats ?? [];
  const gapPercent = percent(finalLossNats / mean(expected.slice(-smoothedSteps)) - 1);
  const largestStepGapPercent = Math.max(...lossesNats.map((loss, step) => percent(loss / (expected[step] ?? 0) - 1)));
  return {
    engine,
    seconds: rounded(seconds, 1),
    firstLossNats: rounded(lossesNats[0] ?? Number.NaN, 4),
    finalLossNats: rounded(finalLossNats, 4),
    gapPercent: rounded(gapPercent, 4),
    largestStepGapPercent: rounded(largestStepGapPercent, 4),
    verdict: verdictOf(gapPercent, target),
  };
});
printResult({
  preset: flags.preset,
  steps: flags.steps,
  tokensPerStep: training.sequenceLength * training.sequencesPerMicrobatch * training.microbatchesPerStep,
  smoothedSteps,
  targetGapPercent: target.atMost,
  engines: results,
  ...provenance(training.seed),
});

function percent(share: number): number {
  return 100 * Math.abs(share);
}

function withProgress(name: EngineName): ComputeEngine {
  const engine = createEngine(openDevice);
  let steps = 0;
  return {
    ...engine,
    async step() {
      if (++steps % 25 === 0) progress(`${name}: step ${steps} of ${flags.steps}`);
      return engine.step();
    },
  };
}
