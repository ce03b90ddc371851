/** The loss chart's data: training and validation losses have points of their own, the chart wants one rising x axis. Pure. */
import type { EpochRecord, Evaluation } from "../../../protocol/run-view.ts";
import type { LivePoint } from "../../state/dashboard.ts";

export type Axis = "tokens" | "time";

/** Columns of equal length, x rising; null where a series has no point at that x. `x` is in tokens, or in seconds since 1970. */
export interface LossSeries {
  readonly x: readonly number[];
  readonly train: readonly (number | null)[];
  readonly validation: readonly (number | null)[];
}

interface Point {
  readonly x: number;
  readonly loss: number;
}

export function lossSeries(
  epochs: readonly EpochRecord[],
  evaluations: readonly Evaluation[],
  live: readonly LivePoint[],
  axis: Axis,
): LossSeries {
  const train: Point[] = [];
  for (const { tokens, finishedAtMs, trainLossNats } of epochs)
    if (trainLossNats !== null)
      train.push({ x: axis === "tokens" ? tokens : finishedAtMs / 1000, loss: trainLossNats });
  for (const { tokens, atMs, lossNats } of live)
    train.push({ x: axis === "tokens" ? tokens : atMs / 1000, loss: lossNats });

  const timeAt = axis === "time" ? timesByTokens(epochs) : undefined;
  const validation = evaluations.map(
    ({ tokens, validationLossNats }): Point => ({
      x: timeAt ? timeAt(tokens) : tokens,
      loss: validationLossNats,
    }),
  );
  return merge(byX(train), byX(validation));
}

/**
 * When so many tokens had been trained, in seconds: an evaluation carries its checkpoint's tokens, and the epoch that made the
 * checkpoint knows the time. Before the first epoch: when that began.
 */
function timesByTokens(epochs: readonly EpochRecord[]): (tokens: number) => number {
  const finished = new Map(epochs.map((epoch) => [epoch.tokens, epoch.finishedAtMs / 1000]));
  const first = epochs[0];
  const begin = first ? (first.finishedAtMs - first.durationMs) / 1000 : Date.now() / 1000;
  return (tokens) => finished.get(tokens) ?? begin;
}

function byX(points: Point[]): readonly Point[] {
  const rising = points.every((point, index) => index === 0 || point.x >= (points[index - 1]?.x ?? 0));
  return rising ? points : points.sort((a, b) => a.x - b.x);
}

function merge(train: readonly Point[], validation: readonly Point[]): LossSeries {
  const x: number[] = [];
  const trainColumn: (number | null)[] = [];
  const validationColumn: (number | null)[] = [];
  let atTrain = 0;
  let atValidation = 0;
  while (atTrain < train.length || atValidation < validation.length) {
    const left = train[atTrain];
    const right = validation[atValidation];
    const next = Math.min(left?.x ?? Number.POSITIVE_INFINITY, right?.x ?? Number.POSITIVE_INFINITY);
    x.push(next);
    const hasLeft = left?.x === next;
    const hasRight = right?.x === next;
    trainColumn.push(hasLeft ? left.loss : null);
    validationColumn.push(hasRight ? right.loss : null);
    if (hasLeft) atTrain++;
    if (hasRight) atValidation++;
  }
  return { x, train: trainColumn, validation: validationColumn };
}

/** The last value of a column at or before `index` that is there. */
export function valueAt(column: readonly (number | null)[], index: number): number | null {
  for (let at = Math.min(index, column.length - 1); at >= 0; at--) {
    const value = column[at];
    if (value !== null && value !== undefined) return value;
  }
  return null;
}

const logSteps = [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8] as const;

/** Round values for a logarithmic axis that may span much less than a decade. `least` < `most`, both above 0. */
export function logTicks(least: number, most: number): number[] {
  const decade = Math.floor(Math.log10(least));
  const all: number[] = [];
  for (let power = decade; 10 ** power <= most; power++)
    for (const step of logSteps) {
      const value = Number((step * 10 ** power).toPrecision(3));
      if (value >= least && value <= most) all.push(value);
    }
  const stride = Math.ceil(all.length / 8);
  return all.filter((_, index) => index % stride === 0);
}
