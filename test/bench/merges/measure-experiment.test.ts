import { describe, expect, it } from "vitest";
import type { LearningRate } from "./experiments.ts";
import { type Measuring, repeat, tune } from "./measure-experiment.ts";

interface FakeResult {
  readonly loss: number | null;
}

/** Runs whose loss is what `lossOf` says of a learning rate; those of which it says nothing there is no time for. */
function measuringOf(losses: Readonly<Record<number, number | null>>, trained: string[] = []): Measuring<FakeResult> {
  return {
    seeds: [7, 8, 9],
    baseLearningRate: 10,
    train: async (learningRate, seed) => {
      trained.push(`${learningRate} ${seed}`);
      const loss = losses[learningRate];
      return loss === undefined ? null : { loss };
    },
    lossOf: ({ loss }) => loss,
    tuned: async (name) => (name === "other" ? { learningRate: 30, first: { loss: 1 } } : null),
  };
}

const three: LearningRate = { factors: [1, 2, 3], of: null };

describe("an experiment", () => {
  it("tries all learning rates with the first seed, and the best one with the others", async () => {
    const trained: string[] = [];
    const measuring = measuringOf({ 10: 3, 20: 1, 30: 2 }, trained);
    const tuned = await tune(three, measuring);
    expect(tuned).toEqual({ learningRate: 20, first: { loss: 1 } });
    const { results } = await repeat(tuned ?? { learningRate: 0, first: { loss: null } }, measuring);
    expect(trained).toEqual(["10 7", "20 7", "30 7", "20 8", "20 9"]);
    expect([...results.keys()]).toEqual([7, 8, 9]);
  });

  it("prefers any learning rate to one that diverges, and one that diverges to none", async () => {
    expect((await tune(three, measuringOf({ 10: null, 30: 5 })))?.learningRate).toBe(30);
    expect((await tune(three, measuringOf({ 10: null })))?.learningRate).toBe(10);
  });

  it("tries multiples of what another experiment was tuned to, if that was measured", async () => {
    const measuring = measuringOf({ 15: 4, 30: 5 });
    expect((await tune({ factors: [1, 0.5], of: "other" }, measuring))?.learningRate).toBe(15);
    expect(await tune({ factors: [1], of: "unmeasured" }, measuring)).toBeNull();
  });

  it("has no result when there was no time for any of its runs", async () => {
    expect(await tune(three, measuringOf({}))).toBeNull();
  });
});
