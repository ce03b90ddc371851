/** How fast a device is, as a miner uses it: through a compute worker, by the clock of its parent. */
import { encodeRows } from "../codec/rows.ts";
import type { DeviceOptions } from "../device.ts";
import type { ModelConfig, StageSpec } from "../model/config.ts";
import { presets } from "../model/presets.ts";
import { blockParameterCount } from "../model/stages.ts";
import { fillNormal, streamKey } from "../random.ts";
import type { ComputeCaller } from "../worker-protocol.ts";

export interface Speed {
  /** Through one block of `model`, forward and backward. */
  readonly blockTokensPerSecond: number;
  readonly gemmGflops: number;
}

export interface BenchmarkLimits {
  readonly budgetMs: number;
  readonly nowMs: () => number;
}

/** A block between the sizes of a laptop's and a graphics card's. */
const model: ModelConfig = {
  ...presets.demo.model,
  vocabulary: 1,
  width: 512,
  layers: 1,
  heads: 8,
  keyValueHeads: 8,
  feedForward: 1408,
  context: 256,
};
/** In the middle of a pipeline: without an embedding, and without a head. */
const stage: StageSpec = { index: 1, count: 3, fromLayer: 0, toLayer: 1 };
const sequences = 4;
const training = { ...presets.demo.training, sequenceLength: model.context, sequencesPerMicrobatch: sequences };
/** 2 FLOP per weight forward and 4 backward, and attention's two products over half of the positions, thrice. */
const flopPerToken = 6 * blockParameterCount(model) + 6 * model.context * model.width;
const largestMicrobatchTokens = sequences * model.context;
const smallestMicrobatchTokens = 16;
/** Of the product that tells how large a microbatch the device can be given. */
const roughTokens = 128;
/** Of the budget. There are two steps at least: one warms up, and one is measured. */
const shareOfOneStep = 0.25;
const shareOfMultiplication = 0.1;
const mostSteps = 20;

/** Takes about `budgetMs` whatever the device; up to a few times that on one so slow that two tiny microbatches take longer. */
export async function measureSpeed(
  engine: ComputeCaller,
  device: DeviceOptions,
  { budgetMs, nowMs }: BenchmarkLimits,
): Promise<Speed> {
  const endMs = nowMs() + budgetMs;
  const timed = async (work: () => Promise<void>) => {
    const startMs = nowMs();
    await work();
    return nowMs() - startMs;
  };
  /** GFLOP/s of the block's own product of so many tokens and a weight matrix. */
  const rate = async (tokens: number, times: number) => {
    const shape = { m: tokens, n: model.width, k: model.width };
    const milliseconds = await timed(() => engine.call("multiply", { ...shape, times }));
    return { milliseconds, gflops: (2 * shape.m * shape.n * shape.k * times) / (milliseconds * 1e6) };
  };

  await engine.call("open", { ...device, model, stage, training });
  await rate(roughTokens, 1); // compiles, and fills caches
  const rough = await rate(roughTokens, 1);
  let tokens = largestMicrobatchTokens;
  while (tokens > smallestMicrobatchTokens && tokens * flopPerToken > rough.gflops * 1e6 * shareOfOneStep * budgetMs)
    tokens /= 2;

  let multiplied = await rate(tokens, 1);
  for (let times = 4; multiplied.milliseconds < shareOfMultiplication * budgetMs; times *= 4)
    multiplied = await rate(tokens, times);

  await trainBlock(engine, "warm-up", tokens);
  const steps: number[] = [];
  do steps.push(await timed(() => trainBlock(engine, `${steps.length}`, tokens)));
  while (steps.length < mostSteps && nowMs() < endMs);
  return { blockTokensPerSecond: Math.round((1000 * tokens) / median(steps)), gemmGflops: multiplied.gflops };
}

async function trainBlock(engine: ComputeCaller, microbatch: string, tokens: number): Promise<void> {
  const activations = new Float32Array(tokens * model.width);
  fillNormal(activations, streamKey(1, "activations"), 1);
  const shape = { rows: tokens, columns: model.width };
  const input = {
    ...{ microbatch, sequences: Math.max(1, tokens / model.context), rows: tokens },
    activations: encodeRows(activations, shape, { format: "f32", noise: null }),
    send: { format: "f32" } as const,
  };
  const { activations: gradient } = await engine.call("forward", input);
  await engine.call("backward", { microbatch, gradient, send: { format: "f32", noise: 0 } });
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
