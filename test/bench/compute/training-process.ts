/**
 * A process that does nothing but train one configuration through the engine, as a peer's program does, and prints the same
 * keys: its peak memory is that of training, and what it allocated is gone before the next measurement.
 */
import { encodeRows } from "../../../src/compute/codec/rows.ts";
import { openDevice } from "../../../src/compute/device.ts";
import { createEngine } from "../../../src/compute/engine.ts";
import { presets } from "../../../src/compute/model/presets.ts";
import { fillNormal, streamKey } from "../../../src/compute/random.ts";
import { expectLargeBuffers } from "../../../src/protocol/large-buffers.ts";
import { median, printResult } from "../shared/report.ts";
import type { Configuration } from "./configuration.ts";
import { modelOf, shapeOf, tokensOf } from "./shape.ts";

const seed = 1;
const warmupSteps = 2;

expectLargeBuffers(); // as the compute worker does
/** Checked by `programs.ts`: the checker alone would be a seventh of the memory that is measured here. */
const configuration: Configuration = JSON.parse(process.argv[2] ?? "");
const { backend, threads, dtype: precision, adamw, d, seq, batch: sequences, vocab, steps } = configuration;
const tokens = tokensOf(configuration);

const engine = createEngine(openDevice);
const training = {
  ...presets.demo.training,
  sequenceLength: seq,
  sequencesPerMicrobatch: sequences,
  learningRate: 1e-6,
};
await engine.open({ backend, threads, precision, ...modelOf(configuration), training });
const train = vocab === 0 ? blockStep() : modelStep();
const seconds: number[] = [];
for (let step = 0; step < warmupSteps + steps; step++) {
  const startMs = performance.now();
  await train(String(step));
  if (adamw) await engine.step();
  if (step >= warmupSteps) seconds.push((performance.now() - startMs) / 1000);
}
engine.close();

printResult({
  engine: `train-at-home ${backend}`,
  dtype: precision,
  threads,
  adamw,
  shape: shapeOf(configuration),
  tokensPerSecond: Math.round(tokens / Math.min(...seconds)),
  medianTokensPerSecond: Math.round(tokens / median(seconds)),
  peakRssMiB: Math.round(process.resourceUsage().maxRSS / 1024),
});

function modelStep(): (microbatch: string) => Promise<unknown> {
  const ids = Int32Array.from({ length: tokens }, (_, index) => (index * 7919) % vocab);
  return (microbatch) => engine.forwardBackward({ microbatch, sequences, tokens: ids, targets: ids, send: null });
}

/** The gradient of the blocks' output is as large as that output, whatever the values: nothing here depends on them. */
function blockStep(): (microbatch: string) => Promise<unknown> {
  const activations = new Float32Array(tokens * d);
  fillNormal(activations, streamKey(seed, "activations"), 1);
  const payload = encodeRows(activations, { rows: tokens, columns: d }, { format: "f32", noise: null });
  const send = { format: "f32", noise: 0 } as const;
  return async (microbatch) => {
    const input = { microbatch, sequences, rows: tokens, activations: payload, send };
    const { activations: gradient } = await engine.forward(input);
    return engine.backward({ microbatch, gradient, send });
  };
}
