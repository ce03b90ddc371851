/**
 * `npm run bench -- join`: what a replica that joins has to fetch, and what rounding the optimizer's memory for it costs in loss. A model
 * is trained for a while with the product's engine on the bundled text; then three go on from there on the same samples: with the
 * memory as it was, as joiners get it, and without any, which shows what there is to lose.
 */
import os from "node:os";
import { z } from "zod";
import { readSample, trainingCrops, validationCrops } from "../../src/compute/data/samples.ts";
import { openDevice } from "../../src/compute/device.ts";
import { type ComputeEngine, createEngine } from "../../src/compute/engine.ts";
import type { ModelConfig, TrainingConfig } from "../../src/compute/model/config.ts";
import { presets } from "../../src/compute/model/presets.ts";
import { parameterCount, wholeModel } from "../../src/compute/model/stages.ts";
import { bundledDataset } from "./shared/bundled-dataset.ts";
import { count, readFlags } from "./shared/flags.ts";
import { mean, printResult, progress, provenance, rounded } from "./shared/report.ts";

const sequenceLength = 128;
const sequences = 8;
const validationSequences = 128;
const flags = readFlags(
  z.object({
    width: count.default(128),
    layers: count.default(6),
    /** Steps before the join. */
    before: count.default(300),
    /** Steps after it. */
    after: count.default(100),
    learningRate: z.coerce.number().positive().default(2e-3),
    seed: z.coerce.number().int().nonnegative().default(1),
    threads: count.default(os.availableParallelism()),
  }),
);

const heads = Math.max(1, Math.round(flags.width / 64));
const model: ModelConfig = {
  ...presets.demo.model,
  ...{ vocabulary: 256, width: flags.width, layers: flags.layers, heads, keyValueHeads: heads },
  /** ⅔ · 4 · width, in multiples of 32. */
  feedForward: 32 * Math.ceil((8 * flags.width) / 3 / 32),
  context: sequenceLength,
};
const training: TrainingConfig = {
  ...presets.demo.training,
  mode: "local-steps",
  ...{ sequenceLength, sequencesPerMicrobatch: sequences, microbatchesPerStep: 1 },
  ...{ learningRate: flags.learningRate, warmupSteps: 20, schedule: { kind: "constant" }, seed: flags.seed },
  outerMomentum: 0,
};
const dataset = await bundledDataset("bytes");

const exact = await openEngine();
await train(exact, "before", 0, flags.before);
const { weights, optimizer } = await exact.state();
const moments = await exact.moments();
if (moments === null) throw new Error("an engine that steps by itself has moments to hand on");
const compact = await openEngine();
await compact.load({ weights, moments });
const bare = await openEngine();
await bare.load({ weights, optimizer: optimizer.map((value, index) => (index === optimizer.length - 1 ? value : 0)) });

const [exactNats, compactNats, bareNats] = [
  await goOn(exact, "exact"),
  await goOn(compact, "compact"),
  await goOn(bare, "without"),
];
const parameters = parameterCount(model);
printResult({
  ...{ width: flags.width, layers: flags.layers, parameters, before: flags.before, after: flags.after },
  bytesPerParameter: {
    weights: 4,
    optimizerAsItIs: rounded((4 * optimizer.length) / parameters, 3),
    optimizerCompact: rounded(moments.length / parameters, 3),
  },
  validationLossNats: {
    exact: rounded(exactNats, 4),
    compact: rounded(compactNats, 4),
    without: rounded(bareNats, 4),
  },
  gapPercent: {
    compact: rounded(100 * (compactNats / exactNats - 1), 3),
    without: rounded(100 * (bareNats / exactNats - 1), 3),
  },
  ...provenance(flags.seed),
});

async function openEngine(): Promise<ComputeEngine> {
  const engine = createEngine(openDevice);
  await engine.open({ backend: "native", threads: flags.threads, model, training, stage: wholeModel(model) });
  return engine;
}

/** The loss on text that it was not trained on, per token. */
async function goOn(engine: ComputeEngine, name: string): Promise<number> {
  await train(engine, name, flags.before, flags.before + flags.after);
  const crops = validationCrops(dataset.manifest, sequenceLength, validationSequences);
  const losses: number[] = [];
  for (let first = 0; first < crops.length; first += sequences) {
    const part = crops.slice(first, first + sequences);
    const { lossSumNats } = await engine.evaluate(readSample(part, sequenceLength, dataset.shardOf));
    losses.push(lossSumNats / (part.length * sequenceLength));
  }
  engine.close();
  return mean(losses);
}

async function train(engine: ComputeEngine, name: string, from: number, to: number): Promise<void> {
  for (let step = from; step < to; step++) {
    const crops = trainingCrops(dataset.manifest, training, { epoch: step, index: 0 });
    const sample = readSample(crops, sequenceLength, dataset.shardOf);
    const { lossSumNats } = await engine.forwardBackward({ microbatch: `${step}`, ...sample, send: null });
    await engine.step();
    if ((step + 1) % 50 === 0)
      progress(`${name}: step ${step + 1}, ${(lossSumNats / (sequences * sequenceLength)).toFixed(4)} nats`);
  }
}
