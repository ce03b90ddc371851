import { describe, expect, it } from "vitest";
import { type Experiment, experiments } from "./experiments.ts";
import type { Measured } from "./measure-experiment.ts";
import type { Outcome } from "./schedule.ts";
import { frontierSeries, gapBetween, rowResult, rowsOf } from "./summary.ts";

const nothingSent = {
  contributionBytesPerParameter: null,
  averageBytesPerParameter: null,
  exchangeBytesPerParameter: null,
};

function outcome(lossNats: number | null, sent: Partial<Outcome> = {}): Outcome {
  return { lossNats, parameters: 100, steps: 10, seconds: 1, ...nothingSent, ...sent };
}

/** With seeds 1, 2, … */
function measured(...outcomes: readonly Outcome[]): Measured<Outcome> {
  return { learningRate: 0.1, results: new Map(outcomes.map((one, index) => [index + 1, one])) };
}

function named(name: string): Experiment {
  const found = experiments.find((one) => one.name === name);
  if (found === undefined) throw new Error(`no experiment is called ${name}`);
  return found;
}

const inTwoBits = { contributionBytesPerParameter: 0.25, averageBytesPerParameter: 0.25 };
const asTheyAre = { contributionBytesPerParameter: 4, averageBytesPerParameter: 4 };
const rows = rowsOf(
  new Map([
    [named("one process"), measured(outcome(2), outcome(4))],
    [named("R 4, merged every 15, f32"), measured(outcome(2.1, asTheyAre), outcome(4, asTheyAre))],
    [named("R 4, merged every 15, dense2"), measured(outcome(null, inTwoBits), outcome(4.4, inTwoBits))],
    [
      named("R 4, exchanged in dense2 with lag 1, merged every 15"),
      measured(outcome(2, { ...inTwoBits, exchangeBytesPerParameter: 0.25 })),
    ],
  ]),
);
const [alone, uncompressed, compressed, exchanged] = rows;

describe("the summary of merges", () => {
  it("compares each seed with itself", () => {
    expect(
      gapBetween(
        new Map([
          [1, 2.2],
          [2, 4],
        ]),
        new Map([
          [2, 4],
          [1, 2],
        ]),
      ),
    ).toEqual({ mean: 5, lowest: 0, highest: 10 });
    expect(gapBetween(new Map([[1, 2.2]]), new Map([[2, 2]]))).toBeNull();
    expect(uncompressed?.gapToOneProcess).toEqual({ mean: 2.5, lowest: 0, highest: 5 });
  });

  it("holds compressed merges against the same schedule uncompressed, and leaves out what diverged", () => {
    expect(compressed).toMatchObject({ diverged: 1, gapToUncompressed: { mean: 10, lowest: 10, highest: 10 } });
    expect([alone?.gapToUncompressed, exchanged?.gapToUncompressed]).toEqual([null, null]);
  });

  it("counts what a merge sends as the protocol's formula does, (3 − 4 ⁄ R) · b, and an exchanged step to every other replica", () => {
    expect(rows.map(({ ratio }) => ratio)).toEqual([null, 1, 16, 16]);
    const perMerge = (3 - 4 / 4) / 15;
    expect(alone?.sentBytesPerParameterAndStep).toBeNull();
    expect(uncompressed?.sentBytesPerParameterAndStep).toBeCloseTo(4 * perMerge, 4);
    expect(exchanged?.sentBytesPerParameterAndStep).toBeCloseTo(0.25 * perMerge + (3 * 0.25 * 14) / 15, 4);
  });

  it("judges mean gaps by the targets that there are", () => {
    const verdicts = rows.map(rowResult).map((row) => ("verdict" in row ? row.verdict : null));
    expect(verdicts).toEqual([null, null, "missed", "met"]);
  });

  it("draws a frontier of the codecs at each interval, by ratio", () => {
    const [every15, every5] = frontierSeries(rows);
    expect(every15?.points.map(({ label, ratio }) => [label, ratio])).toEqual([
      ["f32", 1],
      ["dense2", 16],
    ]);
    expect(every5?.points).toEqual([]);
  });
});

describe("the experiments", () => {
  it("each have a name of their own, and take over learning rates from those that come before in the same set", () => {
    expect(new Set(experiments.map(({ name }) => name)).size).toBe(experiments.length);
    for (const [index, { sets, learningRate }] of experiments.entries()) {
      if (learningRate.of === null) continue;
      const other = experiments.slice(0, index).find(({ name }) => name === learningRate.of);
      expect(other?.sets).toEqual(expect.arrayContaining([...sets]));
    }
  });
});
