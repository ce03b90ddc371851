/**
 * Whether a device computes rightly: the loss and every gradient of a small model against the float64 reference back end, and,
 * where products are rounded, a short training against the same device in float32. Pure: whoever calls owns the worker and the time.
 */
import { floatsOf } from "../../protocol/identity.ts";
import type { DeviceOptions } from "../device.ts";
import type { Precision } from "../kernels.ts";
import type { ModelConfig } from "../model/config.ts";
import { stageLayout } from "../model/layout.ts";
import { optimizerStateLength } from "../model/optimizer-state.ts";
import { presets } from "../model/presets.ts";
import { wholeModel } from "../model/stages.ts";
import { fillNormal, streamKey, uniform } from "../random.ts";
import type { ComputeCaller } from "../worker-protocol.ts";

/** How far the loss and each tensor's gradient may be from the reference, |found − right| / |right|. */
export const gradientLimits: Readonly<Record<Precision, number>> = {
  /** Processors are within 1e-6. WGSL lets a GPU's exponential be off by 3 + 2|x| units in the last place, and its division by 2.5. */
  f32: 2e-5,
  /** 8 bits, rounded anew in each of the products that a gradient passes. */
  bf16: 2e-2,
  /** 11 bits. */
  f16: 1e-2,
};
/** How far the loss may be from that of float32 at each step of the training. */
export const lossLimit = 0.005;
const parityLength = 30;

/** What was farthest from the reference. */
export interface Deviation {
  readonly tensor: string;
  readonly error: number;
  readonly limit: number;
}

export type SelfTest =
  | { readonly passed: true; readonly worst: Deviation; readonly lossDeviation: number | null }
  | { readonly passed: false; readonly reason: string };

/** One microbatch's loss, in nats, and its gradients, laid out as the model's parameters. */
export interface TestedGradients {
  readonly lossSumNats: number;
  readonly gradients: Float32Array;
}

/** Sizes that are no multiples of any vector's width, heads that share keys and values, several sequences, a bottleneck. */
const model: ModelConfig = {
  ...presets.tiny.model,
  vocabulary: 131,
  width: 72,
  layers: 2,
  heads: 6,
  keyValueHeads: 2,
  feedForward: 101,
  context: 45,
  bottleneck: { rank: 27, hidden: 37, beforeLayers: [1] },
};
const stage = wholeModel(model);
const layout = stageLayout(model, stage);
const training = { ...presets.tiny.training, mode: "sync", sequenceLength: 45, sequencesPerMicrobatch: 3 } as const;

/** What is right. */
export function referenceGradients(engine: ComputeCaller): Promise<TestedGradients> {
  return testedGradients(engine, { backend: "reference", threads: 1 });
}

/** Rejects with what the device rejects. */
export async function selfTest(
  engine: ComputeCaller,
  device: DeviceOptions,
  right: TestedGradients,
): Promise<SelfTest> {
  const { precision = "f32" } = device;
  const worst = worstDeviation(await testedGradients(engine, device), right, gradientLimits[precision]);
  if (!(worst.error <= worst.limit)) return { passed: false, reason: explain(worst) };
  if (precision === "f32") return { passed: true, worst, lossDeviation: null };
  const exact = await trainingLosses(engine, { ...device, precision: "f32" });
  const lossDeviation = largestDeviation(await trainingLosses(engine, device), exact);
  if (lossDeviation <= lossLimit) return { passed: true, worst, lossDeviation };
  const reason = `in ${parityLength} steps of training the loss is ${percent(lossDeviation)} off that of f32, allowed are ${percent(lossLimit)}`;
  return { passed: false, reason };
}

/** The loss counts as a tensor. Whatever is not a number is infinitely wrong. */
export function worstDeviation(found: TestedGradients, right: TestedGradients, limit: number): Deviation {
  const errorOf = (error: number) => (Number.isNaN(error) ? Number.POSITIVE_INFINITY : error);
  const loss = errorOf(Math.abs(found.lossSumNats / right.lossSumNats - 1));
  let worst: Deviation = { tensor: "loss", error: loss, limit };
  for (const { name, offset, length } of layout.tensors) {
    const tensor = ({ gradients }: TestedGradients) => gradients.subarray(offset, offset + length);
    const error = errorOf(relativeError(tensor(found), tensor(right)));
    if (error > worst.error) worst = { tensor: `the gradient of ${name}`, error, limit };
  }
  return worst;
}

async function testedGradients(engine: ComputeCaller, device: DeviceOptions): Promise<TestedGradients> {
  await engine.call("open", { ...device, model, stage, training });
  // Larger than a model starts with, so that no gradient is lost in rounding; gains away from one.
  const weights = new Float32Array(layout.length);
  for (const { name, offset, length } of layout.tensors)
    fillNormal(weights.subarray(offset, offset + length), streamKey(training.seed, name), 0.3);
  await engine.call("load", {
    weights,
    optimizer: new Float32Array(optimizerStateLength(training.mode, layout.length)),
  });
  const { lossSumNats } = await engine.call("forwardBackward", {
    microbatch: "self-test",
    sequences: training.sequencesPerMicrobatch,
    ...randomSample(model, training.sequencesPerMicrobatch * training.sequenceLength),
    send: null,
  });
  const { slices } = await engine.call("contribution", { partitions: [{ from: 0, length: layout.length }] });
  return { lossSumNats, gradients: floatsOf(slices[0] ?? new Uint8Array()) };
}

/** Nats per token, before each of a tiny model's steps on one microbatch. */
async function trainingLosses(engine: ComputeCaller, device: DeviceOptions): Promise<readonly number[]> {
  const { model, training } = presets.tiny;
  const sequences = training.sequencesPerMicrobatch;
  const sample = randomSample(model, sequences * training.sequenceLength);
  await engine.call("open", { ...device, model, training, stage: wholeModel(model) });
  const losses: number[] = [];
  for (let step = 0; step < parityLength; step++) {
    const { lossSumNats } = await engine.call("forwardBackward", {
      microbatch: `${step}`,
      sequences,
      ...sample,
      send: null,
    });
    losses.push(lossSumNats / sample.tokens.length);
    await engine.call("step");
  }
  return losses;
}

/** |found − right| / |right|, as the lengths of vectors. */
function relativeError(found: Float32Array, right: Float32Array): number {
  let [gap, size] = [0, 0];
  for (const [index, value] of right.entries()) {
    gap += ((found[index] ?? Number.NaN) - value) ** 2;
    size += value ** 2;
  }
  return Math.sqrt(gap / size);
}

function largestDeviation(losses: readonly number[], exact: readonly number[]): number {
  return Math.max(...losses.map((loss, step) => Math.abs(loss / (exact[step] ?? Number.NaN) - 1)));
}

function randomSample({ vocabulary }: ModelConfig, count: number) {
  const random = (name: string) => {
    const key = streamKey(training.seed, name);
    return Int32Array.from({ length: count }, (_, index) => Math.floor(uniform(key, 0, index) * vocabulary));
  };
  return { tokens: random("tokens"), targets: random("targets") };
}

function explain({ tensor, error, limit }: Deviation): string {
  const amount = Number.isFinite(error) ? `differs by ${error.toExponential(1)}` : "is not a number";
  return `${tensor} ${amount}, allowed are ${limit.toExponential(0)}`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(2)} %`;
}
