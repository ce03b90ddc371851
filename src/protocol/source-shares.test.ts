import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { microbatchesInStep, sourceShares } from "./source-shares.ts";

const seed = 20_261_126;
const weighed = (...weights: readonly number[]) => weights.map((weight) => ({ weight }));

describe("the sources' shares of a step", () => {
  test("are equal where the weights are", () => {
    expect(sourceShares(weighed(5, 5, 5), 4)).toEqual([
      { first: 0, count: 4 },
      { first: 4, count: 4 },
      { first: 8, count: 4 },
    ]);
  });

  test("go by the weights, and a very slow source may have none", () => {
    expect(sourceShares(weighed(3, 1), 4).map(({ count }) => count)).toEqual([6, 2]);
    expect(sourceShares(weighed(1000, 1), 4).map(({ count }) => count)).toEqual([8, 0]);
  });

  test("give what is left to the largest remainders, to the first listed on ties", () => {
    expect(sourceShares(weighed(1, 1, 2), 1).map(({ count }) => count)).toEqual([1, 1, 1]);
    expect(sourceShares(weighed(2, 2, 2, 1), 1).map(({ count }) => count)).toEqual([1, 1, 1, 1]);
    expect(sourceShares(weighed(1, 1, 1, 1, 4), 1).map(({ count }) => count)).toEqual([1, 1, 1, 0, 2]);
  });

  test("cover every microbatch of the step once, each within one of its exact share", () => {
    const weights = fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(weights, fc.integer({ min: 1, max: 50 }), (list, microbatchesPerStep) => {
        const total = microbatchesInStep(list.length, microbatchesPerStep);
        const weight = list.reduce((sum, one) => sum + one, 0);
        let next = 0;
        for (const [index, { first, count }] of sourceShares(weighed(...list), microbatchesPerStep).entries()) {
          expect(first).toBe(next);
          expect(Math.abs(count - (total * (list[index] ?? 0)) / weight)).toBeLessThan(1);
          next += count;
        }
        expect(next).toBe(total);
      }),
      { seed },
    );
  });
});
