/**
 * How much of what replicas contributed is in the merged weights: what was handed over, of partitions that were decided. Only that
 * is counted and credited, so that nobody earns with work that nobody could have. A partition that kept its previous value earns
 * nobody anything: where two replicas contradict each other and there is no third, either may lie, but neither gains by it.
 */
import type { MinerId } from "../../../protocol/ids.ts";
import type { StageMerge } from "./stage-merge.ts";

export interface MergedWork {
  readonly minerId: MinerId;
  /** Its tokens, in proportion to the partitions that have its slices; rounded down. */
  readonly tokens: number;
  /** Partitions that were decided without its slices because nobody could have them. */
  readonly missing: number;
}

/** By contributor, in the merge's order. */
export function mergedWork({ contributors, partitions }: StageMerge): readonly MergedWork[] {
  const decided = partitions.filter(({ hash }) => hash !== null);
  const missing = contributors.map(() => 0);
  for (const partition of decided) for (const index of partition.missing) missing[index] = (missing[index] ?? 0) + 1;
  return contributors.map(({ minerId, tokens }, index) => {
    const without = missing[index] ?? 0;
    return {
      minerId,
      tokens: Math.floor((tokens * (decided.length - without)) / Math.max(1, partitions.length)),
      missing: without,
    };
  });
}
