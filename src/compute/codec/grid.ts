/**
 * The codec's work on arrays that have been checked, as both implementations of it do it to the same bits: `portable/` in TypeScript,
 * and `native.ts` in C++.
 */
import type { LevelBits } from "./levels.ts";

/** Numbers in rows of so many columns each; the last row may be shorter. */
export interface Grid {
  readonly columns: number;
  /**
   * What signs and noise are drawn from. `isFresh`: anew for every row, and even steps are shifted before numbers are rounded to them,
   * so that the mean is the number itself. Otherwise all rows have the same signs, and numbers are rounded to the nearest.
   */
  readonly seed: number;
  readonly isFresh: boolean;
}

/** How a number becomes a code: in even steps up to the row's largest, or as the nearest in a table of levels for normal numbers. */
export type Quantiser =
  | { readonly kind: "uniform"; readonly bits: 2 | 4 | 8 }
  | { readonly kind: "levels"; readonly bits: LevelBits };

/**
 * A body of quantised rows: their scales (bfloat16, little endian), then their codes, each row's from a byte of its own on, the first
 * in the lowest bits. Bodies have the length that the formulas below give.
 */
export interface GridKernels {
  /** False where a number is not finite, or larger than `largestPeak` once rotated: the body is then worth nothing. */
  encodeGrid(body: Uint8Array, values: Float32Array, grid: Grid, quantiser: Quantiser): boolean;
  /** False where a scale is none that an encoder writes. Numbers that it gives are finite. */
  decodeGrid(values: Float32Array, body: Uint8Array, grid: Grid, quantiser: Quantiser): boolean;
  /** bfloat16, two bytes each. False where a number is not finite. */
  encodeBrainFloats(body: Uint8Array, values: Float32Array, grid: Grid): boolean;
  /** False where one is not finite. */
  decodeBrainFloats(values: Float32Array, body: Uint8Array): boolean;
  /** Writes the largest numbers of each chunk (`portable/sparse.ts`). The bytes written; 0 where a number is not finite. */
  encodeSparse(body: Uint8Array, values: Float32Array, kept: number): number;
  /** False where the body is none that an encoder writes. */
  decodeSparse(values: Float32Array, body: Uint8Array, kept: number): boolean;
  /** sums[i] += others[i]; of one length. */
  add(sums: Float32Array, others: Float32Array): void;
  /** differences[i] −= others[i]; of one length. */
  subtract(differences: Float32Array, others: Float32Array): void;
}

export const scaleBytes = 2;

export function codeBytes(columns: number, bits: number): number {
  return Math.ceil((columns * bits) / 8);
}

export function gridBytes(length: number, columns: number, bits: number): number {
  const whole = Math.floor(length / columns);
  const rest = length % columns;
  return whole * (scaleBytes + codeBytes(columns, bits)) + (rest === 0 ? 0 : scaleBytes + codeBytes(rest, bits));
}
