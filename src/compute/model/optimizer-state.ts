/**
 * What an optimizer remembers, as one vector: the first moment, the second moment, in `local-steps` mode the outer
 * momentum — each laid out as the weights — and behind them the number of steps taken.
 */
import { decodeMoments, encodeMoments } from "../codec/moments.ts";
import type { Device } from "../kernels.ts";
import type { CompactState, ReplicaState } from "../worker-protocol.ts";
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

/**
 * The same, but for the outer momentum in a byte per number: close to it, in a fraction of the bytes. `hasOuter`: whether the run has
 * an outer momentum. Rejects with `NonFiniteError`.
 */
export async function compactOptimizerState(
  device: Device,
  { firstMoment, secondMoment, outerMomentum }: OptimizerState,
  steps: number,
  hasOuter: boolean,
): Promise<Uint8Array> {
  const values = async ({ current, length }: LazyVector) =>
    current === null ? new Float32Array(length) : device.download(current);
  return encodeMoments({
    first: await values(firstMoment),
    second: await values(secondMoment),
    outer: hasOuter && outerMomentum !== null ? await values(outerMomentum) : null,
    steps,
  });
}

/**
 * Replaces the state by either form of it, and returns the number of steps taken. Throws `RangeError` for a vector of another length, and
 * `MalformedPayloadError` for a payload that is none.
 */
export function loadOptimizerState(
  device: Device,
  state: OptimizerState,
  packed: Pick<ReplicaState, "optimizer"> | Pick<CompactState, "moments">,
  hasOuter: boolean,
): number {
  if ("optimizer" in packed) return unpack(device, state, packed.optimizer);
  const { firstMoment, secondMoment, outerMomentum } = state;
  const { first, second, outer, steps } = decodeMoments(packed.moments, firstMoment.length, hasOuter);
  device.upload(firstMoment.use(), first);
  device.upload(secondMoment.use(), second);
  if (outer !== null && outerMomentum !== null) device.upload(outerMomentum.use(), outer);
  return steps;
}

function unpack(device: Device, state: OptimizerState, packed: Float32Array): number {
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
