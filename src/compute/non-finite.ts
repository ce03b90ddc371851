/** Numbers that are not finite: found at the boundaries, before they can spoil what has been learned. */
import type { Device, Slice } from "./kernels.ts";

/** NaN or infinity in `tensor`. An expected failure: what it was found in is not trained on. */
export class NonFiniteError extends Error {
  override readonly name = "NonFiniteError";
  readonly tensor: string;
  constructor(tensor: string) {
    super(`${tensor} holds numbers that are not finite`);
    this.tensor = tensor;
  }
}

/** Throws `NonFiniteError` for values that are not finite. */
export function checkFinite(values: Float32Array, tensor: string): void {
  if (!areFinite(values)) throw new NonFiniteError(tensor);
}

/**
 * A sum finds any NaN, and any infinity: neither ever goes away again. There are four sums, since each addition waits for the
 * one before it.
 */
export function areFinite(values: Float32Array): boolean {
  let [a, b, c, d] = [0, 0, 0, 0];
  const whole = values.length - (values.length % 4);
  for (let i = 0; i < whole; i += 4) {
    a += Math.abs(values[i] as number);
    b += Math.abs(values[i + 1] as number);
    c += Math.abs(values[i + 2] as number);
    d += Math.abs(values[i + 3] as number);
  }
  for (let i = whole; i < values.length; i++) a += Math.abs(values[i] as number);
  return Number.isFinite(a + b + c + d);
}

/** A tensor on a device, and what it is called. */
export type NamedTensor = readonly [name: string, values: Slice];

/**
 * √Σx² of one tensor or several that make up a whole. Throws `NonFiniteError` with the name of the first that is broken: they are
 * looked at one by one only once something is.
 */
export async function finiteNorm(device: Device, sum: Slice, whole: NamedTensor, parts: readonly NamedTensor[] = []) {
  const squares = async (values: Slice) => {
    device.kernels.squaredNorm(sum, values);
    const [square = Number.NaN] = await device.downloadDouble(sum);
    return square;
  };
  const [name, values] = whole;
  const square = await squares(values);
  if (Number.isFinite(square)) return Math.sqrt(square);
  for (const [part, slice] of parts) if (!Number.isFinite(await squares(slice))) throw new NonFiniteError(part);
  throw new NonFiniteError(name);
}
