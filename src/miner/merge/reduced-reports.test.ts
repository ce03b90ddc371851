import { describe, expect, it } from "vitest";
import { reducedLimits } from "../../protocol/client-messages.ts";
import { reportsOf } from "./reduced-reports.ts";

/** So many averaged slices, each without so many contributors. */
function averaged(slices: number, missing: number) {
  return Array.from({ length: slices }, (_, partition) => ({
    partition,
    hash: null,
    payload: null,
    outliers: [],
    missing: Array.from({ length: missing }, (_, index) => index),
  }));
}

describe("what was averaged", () => {
  it("is told in one report where it fits, and in none when it is nothing", () => {
    expect(reportsOf(averaged(reducedLimits.slices, 1)).map(({ length }) => length)).toEqual([reducedLimits.slices]);
    expect(reportsOf([])).toEqual([]);
  });

  it("is told in order, in as few reports as hold that many slices and missing contributors", () => {
    expect(reportsOf(averaged(600, 0)).map(({ length }) => length)).toEqual([256, 256, 88]);
    const crowded = reportsOf(averaged(10, 1000));
    expect(crowded.map(({ length }) => length)).toEqual([4, 4, 2]);
    expect(crowded.flat().map(({ partition }) => partition)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });
});
