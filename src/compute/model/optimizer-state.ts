/**
 * What an optimizer remembers, as one vector: the first moment, the second moment, in `local-steps` mode the outer
 * momentum — each laid out as the weights — and behind them the number of steps taken.
 */
import type { Device } from "../kernels.ts";
import type { TrainingConfig } from "./config.ts";
import { type LazyVector, lazyReals, type Memory } from "./memory.ts";

/** Each starts as zeros; what is still zero takes no memory. */
export interface OptimizerState {
  readonly firstMoment: LazyVector;
  readonly secondMoment: LazyVector;
  /** `local-steps` only. */
  readonly outerMomentum: LazyVector | null;
}

/** Length of the packed vector for a stage of `parameters` weights. */
export function optimizerStateLength(mode: TrainingConfig["mode"], parameters: number): number {
  return (mode === "local-steps" ? 3 : 2) * parameters + 1;
}

export function createOptimizerState(memory: Memory, mode: TrainingConfig["mode"], parameters: number): OptimizerState {
  return {
    firstMoment: lazyReals(memory, parameters),
    secondMoment: lazyReals(memory, parameters),
    outerMomentum: mode === "local-steps" ? lazyReals(memory, parameters) : null,
  };
}

/** f32 counts exactly to 2²⁴ steps, which is years of training. */
export async function packOptimizerState(device: Device, state: OptimizerState, steps: number): Promise<Float32Array> {
  const vectors = vectorsOf(state);
  const packed = new Float32Array(vectors.reduce((sum, { length }) => sum + length, 1));
  for (const [index, { current, length }] of vectors.entries())
    if (current) await device.download(current, packed.subarray(index * length, (index + 1) * length));
  packed[packed.length - 1] = steps;
  return packed;
}

/** Replaces the state, and returns the number of steps taken. Throws `RangeError` for a vector of another length. */
export function unpackOptimizerState(device: Device, state: OptimizerState, packed: Float32Array): number {
  const vectors = vectorsOf(state);
  const expected = vectors.reduce((sum, { length }) => sum + length, 1);
  if (packed.length !== expected)
    throw new RangeError(`an optimizer state of ${packed.length} numbers, where ${expected} are expected`);
  for (const [index, vector] of vectors.entries()) {
    const values = packed.subarray(index * vector.length, (index + 1) * vector.length);
    if (vector.current || values.some((value) => value !== 0)) device.upload(vector.use(), values);
  }
  return packed.at(-1) ?? 0;
}

function vectorsOf({ firstMoment, secondMoment, outerMomentum }: OptimizerState): LazyVector[] {
  return [firstMoment, secondMoment, ...(outerMomentum ? [outerMomentum] : [])];
}
