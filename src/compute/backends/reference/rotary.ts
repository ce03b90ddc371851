import type { RotaryShape, Slice } from "../../kernels.ts";
import { at, reals } from "./memory.ts";

/** Turns the pair (x[c], x[c + headDim/2]) of every head by position · base^(−2c / headDim). */
export function rotary(xSlice: Slice, shape: RotaryShape): void {
  const { batch, sequence, heads, headDim, base, positionOffset } = shape;
  const x = reals(xSlice);
  const half = headDim / 2;
  const direction = shape.inverse ? -1 : 1;
  for (let row = 0; row < batch * sequence; row++)
    for (let c = 0; c < half; c++) {
      const angle = (positionOffset + (row % sequence)) * base ** ((-2 * c) / headDim);
      const cosine = Math.cos(angle);
      const sine = direction * Math.sin(angle);
      for (let head = 0; head < heads; head++) {
        const low = (row * heads + head) * headDim + c;
        const [a, b] = [at(x, low), at(x, low + half)];
        x[low] = a * cosine - b * sine;
        x[low + half] = b * cosine + a * sine;
      }
    }
}
