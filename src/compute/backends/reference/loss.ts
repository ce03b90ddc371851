import type { RowShape, Slice } from "../../kernels.ts";
import { accumulate, at, indices, reals } from "./memory.ts";

export function crossEntropy(
  lossesSlice: Slice,
  logitsSlice: Slice,
  targetsSlice: Slice,
  { rows, width, gradientScale }: RowShape & { readonly gradientScale: number },
): void {
  const [losses, targets] = [reals(lossesSlice), indices(targetsSlice)];
  const allLogits = reals(logitsSlice);
  for (let row = 0; row < rows; row++) {
    const target = at(targets, row);
    if (target < 0 || target >= width) throw new RangeError(`target ${target} is outside a vocabulary of ${width}`);
    const logits = allLogits.subarray(row * width, (row + 1) * width);
    const highest = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
    const logSum = highest + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - highest), 0));
    losses[row] = logSum - at(logits, target);
    for (let c = 0; c < width; c++) logits[c] = gradientScale * Math.exp(at(logits, c) - logSum);
    accumulate(logits, target, -gradientScale);
  }
}
