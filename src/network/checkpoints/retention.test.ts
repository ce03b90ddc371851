import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hashBytes } from "../../protocol/identity.ts";
import { type RetentionPolicy, retain } from "./retention.ts";

const generous: RetentionPolicy = { maximum: 100, budgetBytes: Number.POSITIVE_INFINITY };
const hash = hashBytes(new Uint8Array(0));
const checkpointOf = (epoch: number) => ({
  epoch,
  weights: [{ hash, bytes: 10 }],
  optimizer: [{ hash, bytes: 30 }] as const,
});

/** What is left of a run's checkpoints when the policy is applied at the end of every epoch. */
function keptAfter(epochs: number, policy: RetentionPolicy) {
  let kept: Parameters<typeof retain>[0] = [];
  for (let epoch = 1; epoch <= epochs; epoch++) kept = retain([...kept, checkpointOf(epoch)], policy);
  return kept.map(({ epoch }) => epoch);
}

describe("the retention of checkpoints", () => {
  it("keeps the last two whole, and ever sparser older ones without their optimizer state", () => {
    expect(keptAfter(20, generous)).toEqual([1, 9, 13, 17, 19, 20]);
    const retained: Parameters<typeof retain>[0] = retain([17, 18, 19, 20].map(checkpointOf), generous);
    expect(retained.map(({ epoch, optimizer }) => [epoch, optimizer !== null])).toEqual([
      [17, false],
      [19, true],
      [20, true],
    ]);
  });

  it("has one of every age, however long the run lasts", () => {
    for (const epochs of [50, 333, 1024]) {
      const ages = keptAfter(epochs, generous).map((epoch) => epochs - epoch);
      for (let age = 2; 2 * age <= epochs; age *= 2) expect(ages.some((one) => one >= age && one < 2 * age)).toBe(true);
      expect(ages.length).toBeLessThanOrEqual(2 + Math.log2(epochs));
    }
  });

  it("forgets the oldest first when there is no room", () => {
    expect(keptAfter(20, { ...generous, maximum: 4 })).toEqual([13, 17, 19, 20]);
    expect(keptAfter(20, { ...generous, budgetBytes: 2 * 40 + 10 })).toEqual([17, 19, 20]);
  });

  it("never forgets what the run goes on from, and exceeds no limit otherwise", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.nat(1000), { minLength: 1, maxLength: 40 }),
        fc.nat(10),
        fc.nat(1000),
        (epochs, maximum, budgetBytes) => {
          const sorted = epochs.sort((a, b) => a - b);
          const kept = retain(sorted.map(checkpointOf), { maximum, budgetBytes }).map(({ epoch }) => epoch);
          expect(kept.slice(-2)).toEqual(sorted.slice(-2));
          expect(kept).toEqual(sorted.filter((epoch) => kept.includes(epoch)));
          if (kept.length <= 2) return;
          expect(kept.length).toBeLessThanOrEqual(maximum);
          expect(2 * 40 + 10 * (kept.length - 2)).toBeLessThanOrEqual(budgetBytes);
        },
      ),
    );
  });
});
