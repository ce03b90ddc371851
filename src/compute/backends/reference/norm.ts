import type { RowShape, Slice } from "../../kernels.ts";
import { accumulate, at, reals } from "./memory.ts";

export function rmsNormForward(
  outSlice: Slice,
  inverseRmsSlice: Slice,
  xSlice: Slice,
  gainSlice: Slice,
  { rows, width, epsilon }: RowShape & { readonly epsilon: number },
): void {
  const [out, inverseRms, x, gain] = [reals(outSlice), reals(inverseRmsSlice), reals(xSlice), reals(gainSlice)];
  for (let row = 0; row < rows; row++) {
    const first = row * width;
    let squares = 0;
    for (let c = 0; c < width; c++) squares += at(x, first + c) ** 2;
    const r = 1 / Math.sqrt(squares / width + epsilon);
    inverseRms[row] = r;
    for (let c = 0; c < width; c++) out[first + c] = at(x, first + c) * r * at(gain, c);
  }
}

/**
 * With n = x · r and dn = dOut · gain, the gradient of a row is dx = r · (dn − n · mean(dn · n)): r itself depends on
 * every x of the row.
 */
export function rmsNormBackward(
  dxSlice: Slice,
  dGainSlice: Slice,
  dOutSlice: Slice,
  xSlice: Slice,
  gainSlice: Slice,
  inverseRmsSlice: Slice,
  { rows, width }: RowShape,
): void {
  const [dx, dGain, dOut] = [reals(dxSlice), reals(dGainSlice), reals(dOutSlice)];
  const [x, gain, inverseRms] = [reals(xSlice), reals(gainSlice), reals(inverseRmsSlice)];
  for (let row = 0; row < rows; row++) {
    const first = row * width;
    const r = at(inverseRms, row);
    let projection = 0;
    for (let c = 0; c < width; c++) projection += at(dOut, first + c) * at(gain, c) * at(x, first + c) * r;
    projection /= width;
    for (let c = 0; c < width; c++) {
      const normalised = at(x, first + c) * r;
      accumulate(dGain, c, at(dOut, first + c) * normalised);
      accumulate(dx, first + c, r * (at(dOut, first + c) * at(gain, c) - normalised * projection));
    }
  }
}
