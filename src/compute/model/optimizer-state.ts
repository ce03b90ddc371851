/**
 * What an optimizer remembers, as one vector: the first moment, the second moment, in `local-steps` mode the outer
 * momentum — each laid out as the weights — and behind them the number of steps taken.
 */
import type { Slice } from "../kernels.ts";
import { slice } from "../kernels.ts";
import type { TrainingConfig } from "./config.ts";
import type { Memory } from "./memory.ts";

export interface OptimizerState {
  readonly firstMoment: Slice;
  readonly secondMoment: Slice;
  /** `local-steps` only. */
  readonly outerMomentum: Slice | null;
  /** The moments and the momentum as one slice; the step count is kept on the host. */
  readonly vectors: Slice;
}

/** Length of the vector for a stage of `parameters` weights. */
export function optimizerStateLength(mode: TrainingConfig["mode"], parameters: number): number {
  return vectorCount(mode) * parameters + 1;
}

export function allocateOptimizerState(
  memory: Memory,
  mode: TrainingConfig["mode"],
  parameters: number,
): OptimizerState {
  const vectors = memory.reals(vectorCount(mode) * parameters);
  const vector = (index: number) => slice(vectors.buffer, vectors.offset + index * parameters, parameters);
  return {
    firstMoment: vector(0),
    secondMoment: vector(1),
    outerMomentum: mode === "local-steps" ? vector(2) : null,
    vectors,
  };
}

/** f32 counts exactly to 2²⁴ steps, which is years of training. */
export function packOptimizerState(vectors: Float32Array, steps: number): Float32Array {
  const packed = new Float32Array(vectors.length + 1);
  packed.set(vectors);
  packed[vectors.length] = steps;
  return packed;
}

export function unpackOptimizerState(packed: Float32Array): { readonly vectors: Float32Array; readonly steps: number } {
  return { vectors: packed.subarray(0, -1), steps: packed.at(-1) ?? 0 };
}

function vectorCount(mode: TrainingConfig["mode"]): number {
  return mode === "local-steps" ? 3 : 2;
}
