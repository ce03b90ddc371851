/** Rounds the numbers of one rotated row to codes of few bits, and back. */
import { bitsOf, brainFloatAbove, floatOf, fromBrainFloat, nearestBrainFloat } from "../brain-float.ts";
import { type LevelTable, largestPeak, largestScale, smallestPeak } from "../levels.ts";
import { ditherBits, ditherOf } from "../noise.ts";

/** Sums have so many terms at once, as the widest vector registers do; they are folded in halves at the end. */
const lanes = 16;
/** Added to a number, they leave it in the low bits of the sum: without a fraction, and with one of `ditherBits`. */
const wholeMagic = 1.5 * 2 ** 23;
const fractionMagic = 1.5 * 2 ** (23 - ditherBits);
const halfStep = 2 ** (ditherBits - 1);

const smallestPeakBits = bitsOf(smallestPeak);
const largestPeakBits = bitsOf(largestPeak);
const largestScaleBits = bitsOf(largestScale) >>> 16;

/** A row in the making: its numbers, and the same memory as bits. */
export interface RowScratch {
  readonly values: Float32Array;
  readonly bits: Int32Array;
  readonly codes: Uint8Array;
}

export function rowScratch(columns: number): RowScratch {
  const values = new Float32Array(columns);
  return { values, bits: new Int32Array(values.buffer), codes: new Uint8Array(columns) };
}

/** What became of a row: a scale as bfloat16 bits, 0 if all are zeros; or that it holds what is not finite. */
export type RowScale = number | "non-finite";

/**
 * In even steps of the scale, up to the largest number. Without a `key` codes stand for integers, as many below zero as above, and
 * numbers are rounded to the nearest. With one, all codes are used and stand for the halves between integers, and numbers are shifted
 * by up to half a step before they are rounded.
 */
export function quantiseUniform(
  { values, bits, codes }: RowScratch,
  count: number,
  { codeBits, key }: { readonly codeBits: number; readonly key: number | null },
): RowScale {
  const offset = 2 ** (codeBits - 1);
  const least = key === null ? 1 - offset : -offset;
  const most = key === null ? offset - 1 : offset - 0.5;
  const peakBits = peakOf(bits, count);
  if (peakBits > largestPeakBits) return "non-finite";
  if (peakBits < smallestPeakBits) return 0;
  const scale = brainFloatAbove(bitsOf(floatOf(peakBits) / most));
  const inverse = Math.fround(1 / fromBrainFloat(scale));
  const magic = key === null ? wholeMagic : fractionMagic;
  const shift = key === null ? 0 : ditherBits;
  const zero = bitsOf(magic);
  for (let i = 0; i < count; i++) {
    values[i] = Math.fround((values[i] as number) * inverse) + magic;
    const dither = key === null ? 0 : ditherOf(key, i) - halfStep;
    const whole = ((bits[i] as number) - zero + dither) >> shift;
    codes[i] = Math.max(least, Math.min(offset - 1, whole)) + offset;
  }
  return scale;
}

/** Rounds to the nearest level; the scale is that of the least squares. */
export function quantiseToLevels(
  { values, bits, codes }: RowScratch,
  count: number,
  { magnitudes, thresholds }: LevelTable,
): RowScale {
  const peakBits = peakOf(bits, count);
  if (peakBits > largestPeakBits) return "non-finite";
  if (peakBits < smallestPeakBits) return 0;
  const square = sumOfSquares(values, count);
  const inverse = Math.fround(1 / Math.fround(Math.sqrt(Math.fround(square / count))));
  const products = new Float32Array(lanes);
  const counts = new Int32Array(magnitudes.length);
  for (let i = 0; i < count; i++) {
    const value = values[i] as number;
    const magnitude = Math.abs(value);
    const normal = Math.fround(magnitude * inverse);
    let level = 0;
    while (level < thresholds.length && normal > (thresholds[level] as number)) level++;
    counts[level] = (counts[level] as number) + 1;
    codes[i] = value < 0 ? magnitudes.length - 1 - level : magnitudes.length + level;
    const product = Math.fround(magnitude * (magnitudes[level] as number));
    products[i % lanes] = (products[i % lanes] as number) + product;
  }
  const product = folded(products);
  let levelSquare = 0;
  for (let level = 0; level < magnitudes.length; level++) {
    const magnitude = magnitudes[level] as number;
    levelSquare = Math.fround(
      levelSquare + Math.fround((counts[level] as number) * Math.fround(magnitude * magnitude)),
    );
  }
  return nearestBrainFloat(bitsOf(product / levelSquare));
}

/**
 * Moves a row's integers to the halves above them, and takes the shifts of `quantiseUniform` away: what is left of the error is as
 * likely any part of half a step either way, whatever the number was (Schuchman 1964), and half as large in the mean square as if the
 * receiver did not know them.
 */
export function withoutDither(values: Float32Array, key: number): void {
  for (let i = 0; i < values.length; i++)
    values[i] = (values[i] as number) - ((ditherOf(key, i) + 0.5) / 2 ** ditherBits - 1);
}

/** The scale of a row's codes; null where no encoder writes such a one. */
export function readScale(bits: number): number | null {
  return bits > largestScaleBits ? null : fromBrainFloat(bits);
}

/** The largest magnitude, as bits: those of a NaN are larger than all others. */
function peakOf(bits: Int32Array, count: number): number {
  let peak = 0;
  for (let i = 0; i < count; i++) peak = Math.max(peak, (bits[i] as number) & 0x7fffffff);
  return peak;
}

function sumOfSquares(values: Float32Array, count: number): number {
  const squares = new Float32Array(lanes);
  for (let i = 0; i < count; i++) {
    const value = values[i] as number;
    squares[i % lanes] = (squares[i % lanes] as number) + Math.fround(value * value);
  }
  return folded(squares);
}

function folded(sums: Float32Array): number {
  for (let half = lanes / 2; half >= 1; half /= 2)
    for (let i = 0; i < half; i++) sums[i] = (sums[i] as number) + (sums[i + half] as number);
  return sums[0] as number;
}
