/**
 * Initial weights, drawn from (seed, tensor name) alone: however the model is cut, every tensor starts the same.
 *
 * Embeddings are normal with deviation 1. Norms make the residual stream's scale irrelevant to what the model says, but not
 * to how it learns: a small stream turns too far with every step. Matrices have deviation √(2 / (5 · width)) (Nguyen & Salazar
 * 2019, §2.2, "SmallInit"); those that write into the residual stream are divided by √(2 · layers), one for each of the
 * writes that add up in it (Radford 2019, §2.3). Bottlenecks start silent: what they add is zero, from matrices that keep the size of
 * what enters (deviation 1 / √inputs). Gains are one.
 */
import { assertNever } from "../../protocol/assert-never.ts";
import { fillNormal, streamKey } from "../random.ts";
import type { ModelConfig } from "./config.ts";
import type { StageLayout, TensorRole } from "./layout.ts";

/** Even, as `fillNormal` wants it; 1 MiB. */
const mostAtOnce = 2 ** 18;

/**
 * The stage's parameter vector before the first step, piece by piece: values that start at element `offset`. They hold until
 * the next piece is drawn.
 */
export function* initialWeights(
  model: ModelConfig,
  layout: StageLayout,
  seed: number,
): Generator<{ readonly offset: number; readonly values: Float32Array }> {
  const memory = new Float32Array(Math.min(mostAtOnce, layout.length));
  for (const { name, role, shape, offset, length } of layout.tensors) {
    const key = streamKey(seed, name);
    for (let first = 0; first < length; first += mostAtOnce) {
      const values = memory.subarray(0, Math.min(mostAtOnce, length - first));
      if (role === "gain") values.fill(1);
      else if (role === "silent") values.fill(0);
      else fillNormal(values, key, deviation(model, role, shape), first);
      yield { offset: offset + first, values };
    }
  }
}

function deviation(
  model: ModelConfig,
  role: Exclude<TensorRole, "gain" | "silent">,
  [, inputs = 1]: readonly number[],
): number {
  const small = Math.sqrt(2 / (5 * model.width));
  switch (role) {
    case "embedding":
      return 1;
    case "matrix":
      return small;
    case "projection":
      return 1 / Math.sqrt(inputs);
    case "residual":
      return small / Math.sqrt(2 * model.layers);
    default:
      return assertNever(role);
  }
}
