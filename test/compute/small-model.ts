/** A model small enough for float64 in plain TypeScript, with every part that a large one has; and data for it. */
import type { ModelConfig } from "../../src/compute/model/config.ts";
import { initialWeights } from "../../src/compute/model/initialise.ts";
import type { StageLayout } from "../../src/compute/model/layout.ts";
import { fillNormal, streamKey, uniform } from "../../src/compute/random.ts";

export const smallModel: ModelConfig = {
  vocabulary: 24,
  width: 16,
  layers: 3,
  heads: 4,
  keyValueHeads: 2,
  feedForward: 20,
  context: 8,
  rotaryBase: 10_000,
  normEpsilon: 1e-5,
};

/** As small, with a bottleneck before each of its layers but the first. */
export const squeezedModel: ModelConfig = {
  ...smallModel,
  bottleneck: { rank: 6, hidden: 10, beforeLayers: [1, 2] },
};

/** As small, for text: every byte is a token. */
export const byteModel: ModelConfig = { ...smallModel, vocabulary: 256 };

/** Larger than a model starts with, so that no gradient is lost in rounding; gains away from one. */
export function randomWeights(model: ModelConfig, layout: StageLayout): Float32Array {
  const weights = new Float32Array(layout.length);
  for (const { name, offset, length } of layout.tensors)
    fillNormal(weights.subarray(offset, offset + length), streamKey(model.width, name), 0.3);
  return weights;
}

/** What a replica starts with, as one vector. */
export function initialVector(model: ModelConfig, layout: StageLayout, seed: number): Float32Array {
  const vector = new Float32Array(layout.length);
  for (const { offset, values } of initialWeights(model, layout, seed)) vector.set(values, offset);
  return vector;
}

export function randomTokens(model: Pick<ModelConfig, "vocabulary">, count: number, name: string): Int32Array {
  const key = streamKey(1, name);
  return Int32Array.from({ length: count }, (_, i) => Math.floor(uniform(key, 0, i) * model.vocabulary));
}

/** √Σx². */
export function magnitude(values: ArrayLike<number>): number {
  return Math.sqrt(Array.from(values).reduce((sum, value) => sum + value * value, 0));
}

/** |actual − expected| / |expected|. */
export function difference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) throw new RangeError(`${actual.length} values, expected ${expected.length}`);
  const gaps = Array.from(actual, (value, i) => value - (expected[i] ?? Number.NaN));
  return magnitude(gaps) / magnitude(expected);
}
