import { describe, expect, it } from "vitest";
import { presets } from "./presets.ts";
import { mostUnderWay, stageBudget } from "./stage-budget.ts";
import { cutIntoStages } from "./stages.ts";

describe("a stage's budget", () => {
  const { model, training } = presets["100m"];
  const [first, middle, last] = cutIntoStages(model, 3);
  const inFlight = (stage: typeof first, microbatchesPerStep: number) =>
    stage && stageBudget({ stage, training: { ...training, microbatchesPerStep } }, 0).microbatchesInFlight;

  it("has room for all microbatches of a short step: one source's at the source, others' too behind it, none at the end", () => {
    expect([first, middle, last].map((stage) => inFlight(stage, 6))).toEqual([6, 12, 1]);
  });

  it("has room for no more of a long step than a pipeline holds", () => {
    expect([first, middle, last].map((stage) => inFlight(stage, 600))).toEqual([15, 30, 1]);
  });

  it("counts the steps that may overlap", () => {
    const ahead = { ...training, microbatchesPerStep: 4, maximumStaleness: 2 };
    expect(first && mostUnderWay({ stage: first, training: ahead })).toBe(12);
  });
});
