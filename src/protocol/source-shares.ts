/** Which source sends which microbatches of a step: everybody works it out from the roster that the epoch began with. */
import type { RosterReplica } from "./roster.ts";

/** One source's microbatches in every step: `count` of them from index `first` on, within the step's. */
export interface SourceShare {
  readonly first: number;
  readonly count: number;
}

/** All sources' microbatches in a step. */
export function microbatchesInStep(sources: number, microbatchesPerStep: number): number {
  return sources * microbatchesPerStep;
}

/**
 * Shares in proportion to the sources' weights, by largest remainders (the first listed on ties), so that a slow source does not
 * hold up the step; a very slow one may have none.
 */
export function sourceShares(
  sources: readonly Pick<RosterReplica, "weight">[],
  microbatchesPerStep: number,
): readonly SourceShare[] {
  const total = microbatchesInStep(sources.length, microbatchesPerStep);
  const weight = sources.reduce((sum, source) => sum + source.weight, 0);
  const exact = sources.map((source) => (total * source.weight) / weight);
  const counts = exact.map(Math.floor);
  const left = total - counts.reduce((sum, count) => sum + count, 0);
  const byRemainder = exact
    .map((share, index) => ({ index, remainder: share - Math.floor(share) }))
    .toSorted((a, b) => b.remainder - a.remainder);
  for (const { index } of byRemainder.slice(0, left)) counts[index] = (counts[index] ?? 0) + 1;
  let first = 0;
  return counts.map((count) => {
    const share = { first, count };
    first += count;
    return share;
  });
}
