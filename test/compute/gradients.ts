/** The loss and the gradients of one microbatch on any device, and how far those of two devices are apart. */
import type { Device } from "../../src/compute/kernels.ts";
import type { ModelConfig } from "../../src/compute/model/config.ts";
import { type StageLayout, stageLayout } from "../../src/compute/model/layout.ts";
import { createMemory } from "../../src/compute/model/memory.ts";
import {
  createStage,
  embeddingOf,
  headOf,
  lossForwardBackward,
  passOf,
  stageForward,
} from "../../src/compute/model/stage.ts";
import { allocateActivations } from "../../src/compute/model/stage-memory.ts";
import { wholeModel } from "../../src/compute/model/stages.ts";
import { fillNormal, streamKey } from "../../src/compute/random.ts";
import { magnitude } from "./small-model.ts";

export interface Microbatch {
  readonly sequences: number;
  /** int32 [sequences · sequenceLength]. */
  readonly tokens: Int32Array;
  readonly targets: Int32Array;
}

export interface LossAndGradients {
  readonly loss: number;
  /** Of the summed loss, laid out by `stageLayout`. */
  readonly gradients: Float64Array;
}

export async function lossAndGradients(
  device: Device,
  model: ModelConfig,
  weights: Float32Array,
  { sequences, tokens, targets }: Microbatch,
): Promise<LossAndGradients> {
  const sequenceLength = tokens.length / sequences;
  const size = { maximumTokens: tokens.length, recompute: false };
  const stage = createStage(device.kernels, createMemory(device), model, wholeModel(model), size);
  const shape = { sequences, queries: sequenceLength, keys: sequenceLength };
  const pass = passOf(stage, allocateActivations(stage), shape);
  device.upload(stage.parameters, weights);
  device.uploadIndices(embeddingOf(pass).tokens, tokens);
  device.uploadIndices(headOf(pass).targets, targets);
  stageForward(stage, pass);
  const losses = await device.downloadDouble(lossForwardBackward(stage, pass));
  return { loss: losses.reduce((a, b) => a + b), gradients: await device.downloadDouble(stage.gradients) };
}

/** Matrices that keep the size of what passes through them, so that every part of the model matters; gains around one. */
export function balancedWeights(model: ModelConfig): Float32Array {
  const layout = stageLayout(model, wholeModel(model));
  const weights = new Float32Array(layout.length);
  for (const { name, role, shape, offset, length } of layout.tensors) {
    const values = weights.subarray(offset, offset + length);
    const isGain = role === "gain";
    fillNormal(values, streamKey(model.width, name), isGain ? 0.2 : 1 / Math.sqrt(shape[1] ?? 1));
    if (isGain) for (const [i, value] of values.entries()) values[i] = 1 + value;
  }
  return weights;
}

/**
 * |actual − expected| / |expected| of every tensor. Where a gradient vanishes, as the queries' over a single key, it is taken
 * from a twentieth of the whole gradient: of nothing there is no share.
 */
export function tensorDistances(
  { tensors }: StageLayout,
  actual: ArrayLike<number>,
  expected: Float64Array,
): ReadonlyMap<string, number> {
  const floor = magnitude(expected) / 20;
  return new Map(
    tensors.map(({ name, offset, length }) => {
      const own = expected.subarray(offset, offset + length);
      const gaps = own.map((value, i) => (actual[offset + i] ?? Number.NaN) - value);
      return [name, magnitude(gaps) / Math.max(magnitude(own), floor)];
    }),
  );
}
