/**
 * Averages one slice of a stage's vector over its contributors: the butterfly's reducer.
 *
 * Plain double-precision sums in the order given, rounded once at the end: the same bits on every machine, which no back end's
 * kernels promise each other, so that two owners' hashes can be compared. It runs in the daemon: a slice is small, and to hand it
 * to a compute worker takes longer than to add it up.
 */
import type { TrainingConfig } from "../model/config.ts";

export interface SliceContribution {
  /** Null: it could not be had. */
  readonly values: Float32Array | null;
  /** Its weight. */
  readonly tokens: number;
}

export interface AveragedSlice {
  /**
   * `local-steps`: the mean, weighted by tokens. `sync`: the sum, scaled up to the tokens of all contributors where some are left
   * out, since it is divided by those later. Null when there is nothing to average.
   */
  readonly values: Float32Array | null;
  /** Indices of the contributions that were left out because of what they hold. */
  readonly outliers: readonly number[];
}

/** Fewer contributors cannot outvote one. */
const fewestToCompare = 3;
/** So many times as long as the median is no accident. */
const longestToMedian = 4;
/** Of fewer values, chance may turn an honest slice against the others. */
const fewestValuesWithDirection = 256;
/** As clearly as the others must agree with each other, one must disagree with them to be left out. */
const clearCosine = 0.5;

/** A contribution that counts so far. */
interface Candidate {
  readonly index: number;
  readonly values: Float32Array;
  readonly tokens: number;
  /** What the values are multiplied by in the weighted sum. */
  readonly factor: number;
  /** Of the weighted values. */
  readonly norm: number;
}

export function averageSlices(
  contributions: readonly SliceContribution[],
  mode: TrainingConfig["mode"],
): AveragedSlice {
  const { similar, outliers } = compare(contributions, mode);
  const length = similar[0]?.values.length;
  if (length === undefined) return { values: null, outliers };
  const kept = tokensOf(similar);
  const scale = mode === "sync" ? tokensOf(contributions) / kept : 1 / kept;
  return { values: scaled(weightedSum(similar), scale), outliers };
}

/** Indices of the contributions that `averageSlices` would leave out because of what they hold, when all are finite. */
export function outliersAmong(
  contributions: readonly SliceContribution[],
  mode: TrainingConfig["mode"],
): readonly number[] {
  return contributions.length < fewestToCompare ? [] : compare(contributions, mode).outliers;
}

function compare(contributions: readonly SliceContribution[], mode: TrainingConfig["mode"]) {
  const present = contributions.flatMap(({ values, tokens }, index) =>
    values === null || tokens === 0 ? [] : [{ index, values, tokens, factor: mode === "sync" ? 1 : tokens }],
  );
  const candidates = present
    .map((one): Candidate => ({ ...one, norm: one.factor * Math.sqrt(dot(one.values, one.values)) }))
    .filter(({ norm }) => Number.isFinite(norm)); // squares of f32 values do not overflow in double precision
  const similar = withoutTurned(withoutTooLong(candidates));
  const outliers = present.filter(({ index }) => !similar.some((one) => one.index === index)).map(({ index }) => index);
  return { similar, outliers };
}

/**
 * Leaves out what is far longer than the median, as in comparative gradient elimination (Gupta, Liu & Vaidya 2021) but by a limit
 * instead of a number. Lengths are taken per token, and the noise in a mean falls with the root of the tokens: a small batch may be
 * so much longer.
 */
function withoutTooLong(candidates: readonly Candidate[]): readonly Candidate[] {
  if (candidates.length < fewestToCompare) return candidates;
  const medianNorm = median(candidates.map(({ norm, tokens }) => norm / tokens));
  const medianTokens = median(candidates.map(({ tokens }) => tokens));
  return candidates.filter(({ norm, tokens }) => {
    const noise = Math.max(1, Math.sqrt(medianTokens / tokens));
    return norm / tokens <= longestToMedian * noise * medianNorm;
  });
}

/**
 * Leaves out what points against the weighted sum of the others where those agree: such as a gradient with its sign turned. In
 * noise honest slices point anywhere, but then the others do not agree either.
 */
function withoutTurned(candidates: readonly Candidate[]): readonly Candidate[] {
  const [first] = candidates;
  if (first === undefined || candidates.length < fewestToCompare) return candidates;
  if (first.values.length < fewestValuesWithDirection) return candidates;
  const sum = weightedSum(candidates);
  const sumSquare = dot(sum, sum);
  const squares = candidates.reduce((total, { norm }) => total + norm ** 2, 0);
  // Were the others all as long, with a cosine of c between any two, their sum's square would be this times that of their squares.
  const agreement = 1 + (candidates.length - 2) * clearCosine;
  return candidates.filter(({ values, factor, norm }) => {
    const withAll = factor * dot(values, sum);
    const withOthers = withAll - norm ** 2;
    const othersSquare = sumSquare - 2 * withAll + norm ** 2;
    const othersAgree = othersSquare >= agreement * (squares - norm ** 2);
    return !othersAgree || withOthers >= -clearCosine * norm * Math.sqrt(othersSquare);
  });
}

function weightedSum(candidates: readonly Candidate[]): Float64Array {
  const sum = new Float64Array(candidates[0]?.values.length ?? 0);
  for (const { values, factor } of candidates)
    for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] as number) + (values[i] as number) * factor;
  return sum;
}

function scaled(sum: Float64Array, scale: number): Float32Array {
  const values = new Float32Array(sum.length);
  for (let i = 0; i < sum.length; i++) values[i] = (sum[i] as number) * scale;
  return values;
}

/** In four sums, since each addition waits for the one before it. */
function dot(a: Float32Array | Float64Array, b: Float32Array | Float64Array): number {
  let [w, x, y, z] = [0, 0, 0, 0];
  const whole = a.length - (a.length % 4);
  for (let i = 0; i < whole; i += 4) {
    w += (a[i] as number) * (b[i] as number);
    x += (a[i + 1] as number) * (b[i + 1] as number);
    y += (a[i + 2] as number) * (b[i + 2] as number);
    z += (a[i + 3] as number) * (b[i + 3] as number);
  }
  for (let i = whole; i < a.length; i++) w += (a[i] as number) * (b[i] as number);
  return w + x + (y + z);
}

function tokensOf(contributions: readonly { readonly tokens: number }[]): number {
  return contributions.reduce((sum, { tokens }) => sum + tokens, 0);
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] as number;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] as number)) / 2;
}
