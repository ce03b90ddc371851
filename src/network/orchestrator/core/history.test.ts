import { describe, expect, it } from "vitest";
import { remember } from "./history.ts";

describe("a run's history", () => {
  const limit = 64;
  const history = Array.from({ length: 10_000 }, (_, index) => index).reduce<readonly number[]>(
    (kept, index) => remember(kept, index, limit),
    [],
  );

  it("never grows past its limit", () => {
    expect(history.length).toBeLessThanOrEqual(limit);
    expect(history.length).toBeGreaterThan(limit / 2);
  });

  it("keeps its order, its beginning and its latest entries without a gap", () => {
    expect(history).toEqual([...history].sort((a, b) => a - b));
    expect(history[0]).toBe(0);
    expect(history.slice(-limit / 4)).toEqual(
      Array.from({ length: limit / 4 }, (_, index) => 10_000 - limit / 4 + index),
    );
  });

  it("is complete while it is short", () => {
    expect(remember([1, 2], 3, limit)).toEqual([1, 2, 3]);
  });
});
