/**
 * Random signs and Walsh–Hadamard transforms: an orthogonal rotation behind which the numbers of a row are about normal, whatever
 * they were (Ailon & Chazelle 2009; for gradients Suresh 2017, §3). In f32, in a fixed order.
 */
import { signWord } from "../noise.ts";

/** Longer blocks would spread outliers no better and cost more. */
export const longestBlock = 4096;

/** A row's blocks: powers of two, the largest first. */
export function* blocksOf(columns: number): Generator<{ readonly from: number; readonly length: number }> {
  for (let from = 0; from < columns; ) {
    const length = Math.min(longestBlock, 2 ** (31 - Math.clz32(columns - from)));
    yield { from, length };
    from += length;
  }
}

/** 1/√length in f32: makes the transform of a block orthogonal. */
export function blockFactor(length: number): number {
  return Math.fround(1 / Math.sqrt(length));
}

/** Walsh–Hadamard in place, not scaled; `length` is a power of two. Shortest butterflies first. */
export function hadamard(values: Float32Array, from: number, length: number): void {
  for (let half = 1; half < length; half *= 2)
    for (let start = from; start < from + length; start += 2 * half)
      for (let i = start; i < start + half; i++) {
        const a = values[i] as number;
        const b = values[i + half] as number;
        values[i] = a + b;
        values[i + half] = a - b;
      }
}

/** out[i] = ± source[from + i] with the signs of `key`. */
export function copyWithSigns(out: Float32Array, source: Float32Array, from: number, count: number, key: number): void {
  let signs = 0;
  for (let i = 0; i < count; i++) {
    signs = (i & 31) === 0 ? signWord(key, i >>> 5) : signs >>> 1;
    const value = source[from + i] as number;
    out[i] = (signs & 1) === 1 ? -value : value;
  }
}

/** In place: values[from + i] = ± factor · values[from + i]; `column`: the index of the first within its row. */
export function scaleWithSigns(
  values: Float32Array,
  from: number,
  count: number,
  { key, column, factor }: { readonly key: number; readonly column: number; readonly factor: number },
): void {
  let signs = signWord(key, column >>> 5) >>> (column & 31);
  for (let i = 0; i < count; i++) {
    if (((column + i) & 31) === 0) signs = signWord(key, (column + i) >>> 5);
    const value = Math.fround((values[from + i] as number) * factor);
    values[from + i] = (signs & 1) === 1 ? -value : value;
    signs >>>= 1;
  }
}
