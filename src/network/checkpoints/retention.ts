/** Which checkpoints of a run are kept: the newest, and behind them ever sparser older ones, as long as there is room. */
import type { BlobRef } from "../../protocol/ids.ts";

export interface RetentionPolicy {
  /** Most checkpoints of a run. */
  readonly maximum: number;
  /** For the kept checkpoints of a run together. */
  readonly budgetBytes: number;
}

export const defaultRetention: RetentionPolicy = { maximum: 8, budgetBytes: 16e9 };

/** The run goes on from the last one, and from the one before when that turns out to be broken: kept whatever the limits. */
const inUse = 2;

interface Kept {
  readonly epoch: number;
  /** One per stage. */
  readonly weights: readonly BlobRef[];
  /** Null: forgotten. */
  readonly optimizer: readonly BlobRef[] | null;
}

/**
 * `checkpoints` in order of their epochs; so is the result. Older ones are kept without their optimizer state, which is the
 * larger part: they can be looked at, exported and started from, but not gone on with as if nothing had happened. Of those
 * that are 2ᵏ … 2ᵏ⁺¹ − 1 epochs old the oldest stays, for it is the next to be missed from the class above: so a long run
 * keeps some of every age.
 */
export function retain<C extends Kept>(checkpoints: readonly C[], policy: RetentionPolicy): readonly C[] {
  const newestFirst = [...checkpoints].reverse();
  const kept = newestFirst.slice(0, inUse);
  let bytes = kept.reduce((sum, one) => sum + bytesOf(one), 0);
  for (const checkpoint of oldestOfEachAge(newestFirst.slice(inUse), kept[0]?.epoch ?? 0)) {
    const lean = { ...checkpoint, optimizer: null };
    bytes += bytesOf(lean);
    if (kept.length >= policy.maximum || bytes > policy.budgetBytes) break;
    kept.push(lean);
  }
  return kept.reverse();
}

function oldestOfEachAge<C extends Kept>(newestFirst: readonly C[], newestEpoch: number): readonly C[] {
  const byAge = new Map<number, C>();
  for (const checkpoint of newestFirst) byAge.set(Math.floor(Math.log2(newestEpoch - checkpoint.epoch)), checkpoint);
  return [...byAge.values()];
}

function bytesOf({ weights, optimizer }: Kept): number {
  return [...weights, ...(optimizer ?? [])].reduce((sum, { bytes }) => sum + bytes, 0);
}
