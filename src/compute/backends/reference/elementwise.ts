import type { ColumnsShape, Slice } from "../../kernels.ts";
import { accumulate, at, indices, reals } from "./memory.ts";

export function fill(out: Slice, value: number): void {
  reals(out).fill(value);
}

export function copy(out: Slice, source: Slice): void {
  if (out.buffer.element === "real") reals(out).set(reals(source));
  else indices(out).set(indices(source));
}

export function add(outSlice: Slice, aSlice: Slice, bSlice: Slice): void {
  const [out, a, b] = [reals(outSlice), reals(aSlice), reals(bSlice)];
  for (let i = 0; i < out.length; i++) out[i] = at(a, i) + at(b, i);
}

export function addScaled(outSlice: Slice, xSlice: Slice, factor: number): void {
  const [out, x] = [reals(outSlice), reals(xSlice)];
  for (let i = 0; i < out.length; i++) accumulate(out, i, factor * at(x, i));
}

export function addColumns(
  outSlice: Slice,
  sourceSlice: Slice,
  { rows, columns, outWidth, sourceWidth }: ColumnsShape,
): void {
  const [out, source] = [reals(outSlice), reals(sourceSlice)];
  for (let row = 0; row < rows; row++)
    for (let c = 0; c < columns; c++) accumulate(out, row * outWidth + c, at(source, row * sourceWidth + c));
}

export function squaredNorm(out: Slice, xSlice: Slice): void {
  reals(out)[0] = reals(xSlice).reduce((sum, x) => sum + x * x, 0);
}

/** silu(x) = x · σ(x). */
export function swigluForward(outSlice: Slice, gateSlice: Slice, upSlice: Slice): void {
  const [out, gate, up] = [reals(outSlice), reals(gateSlice), reals(upSlice)];
  for (let i = 0; i < out.length; i++) out[i] = at(gate, i) * sigmoid(at(gate, i)) * at(up, i);
}

/** silu′(x) = σ(x) · (1 + x · (1 − σ(x))). All inputs are read before any output is written: they may alias. */
export function swigluBackward(
  dGateSlice: Slice,
  dUpSlice: Slice,
  activatedSlice: Slice,
  dOutSlice: Slice,
  gateSlice: Slice,
  upSlice: Slice,
): void {
  const [dGate, dUp, activated] = [reals(dGateSlice), reals(dUpSlice), reals(activatedSlice)];
  const [dOut, gate, up] = [reals(dOutSlice), reals(gateSlice), reals(upSlice)];
  for (let i = 0; i < dOut.length; i++) {
    const [g, u, d] = [at(gate, i), at(up, i), at(dOut, i)];
    const s = sigmoid(g);
    dGate[i] = d * u * s * (1 + g * (1 - s));
    dUp[i] = d * g * s;
    activated[i] = g * s * u;
  }
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}
