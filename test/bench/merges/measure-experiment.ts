/** Trains what an experiment needs: each learning rate with the first seed, and the best of them with all. */
import type { LearningRate } from "./experiments.ts";

export interface Measuring<Result> {
  readonly seeds: readonly number[];
  readonly baseLearningRate: number;
  /** Null: there is no time for it. */
  readonly train: (learningRate: number, seed: number) => Promise<Result | null>;
  /** Null: it diverged. */
  readonly lossOf: (result: Result) => number | null;
  /** What another experiment was tuned to. */
  readonly tuned: (name: string) => Promise<Tuned<Result> | null>;
}

export interface Tuned<Result> {
  readonly learningRate: number;
  readonly first: Result;
}

export interface Measured<Result> {
  readonly learningRate: number;
  /** By seed; without those that there was no time for. */
  readonly results: ReadonlyMap<number, Result>;
}

/** With the first seed. Null: there was no time for any of it. */
export async function tune<Result>(
  learningRate: LearningRate,
  measuring: Measuring<Result>,
): Promise<Tuned<Result> | null> {
  const { train, lossOf } = measuring;
  const seed = firstOf(measuring.seeds);
  const rates = await candidates(learningRate, measuring);
  const tried = await Promise.all(rates.map(async (rate) => ({ rate, result: await train(rate, seed) })));
  const done = tried.flatMap(({ rate, result }) => (result === null ? [] : [{ learningRate: rate, first: result }]));
  const order = ({ first }: Tuned<Result>) => lossOf(first) ?? Number.POSITIVE_INFINITY;
  return done.toSorted((a, b) => order(a) - order(b))[0] ?? null;
}

/** With the other seeds. */
export async function repeat<Result>(
  { learningRate, first }: Tuned<Result>,
  { seeds, train }: Measuring<Result>,
): Promise<Measured<Result>> {
  const results = new Map([[firstOf(seeds), first]]);
  const others = seeds.slice(1).map(async (seed) => [seed, await train(learningRate, seed)] as const);
  for (const [seed, result] of await Promise.all(others)) if (result !== null) results.set(seed, result);
  return { learningRate, results };
}

async function candidates<Result>(
  { factors, of }: LearningRate,
  { baseLearningRate, tuned }: Measuring<Result>,
): Promise<readonly number[]> {
  const base = of === null ? baseLearningRate : (await tuned(of))?.learningRate;
  return base === undefined ? [] : factors.map((factor) => factor * base);
}

function firstOf(seeds: readonly number[]): number {
  const [first] = seeds;
  if (first === undefined) throw new RangeError("no seeds");
  return first;
}
