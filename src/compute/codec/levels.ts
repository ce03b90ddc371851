/** The quantisers' tables. f32 numbers, the same in both implementations. */

/** Levels and thresholds, on one side of zero, that a normal number of deviation 1 is rounded to with the least mean square (Max 1960). */
export interface LevelTable {
  /** Ascending, positive; the negative ones mirror them. */
  readonly magnitudes: Float32Array;
  /** Between each magnitude and the next. */
  readonly thresholds: Float32Array;
  /** Of each code, from the most negative to the most positive. */
  readonly levels: Float32Array;
}

export type LevelBits = 1 | 2 | 4;

function table(magnitudes: readonly number[], thresholds: readonly number[]): LevelTable {
  return {
    magnitudes: Float32Array.from(magnitudes),
    thresholds: Float32Array.from(thresholds),
    levels: Float32Array.from([...magnitudes.toReversed().map((level) => -level), ...magnitudes]),
  };
}

/** Max 1960, table I. */
export const levelTables: Readonly<Record<LevelBits, LevelTable>> = {
  1: table([0.798], []),
  2: table([0.4528, 1.51], [0.9816]),
  4: table(
    [0.1284, 0.3881, 0.6568, 0.9424, 1.256, 1.618, 2.069, 2.733],
    [0.2582, 0.5224, 0.7996, 1.099, 1.437, 1.844, 2.401],
  ),
};

/** Rows whose largest number is smaller than this, once rotated, are zeros; otherwise squares would get lost. */
export const smallestPeak = 2 ** -60;
/** Larger numbers count as not finite: only a diverged run has them, and sums of squares stay in range below. */
export const largestPeak = 2 ** 48;
/** Of any scale: a code stands for at most 2.3 times what was rounded to it. */
export const largestScale = 2 ** 50;
