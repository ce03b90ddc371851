import { describe, expect, it } from "vitest";
import { trainingConfigSchema } from "../../protocol/run-config.ts";
import type { TrainingConfig } from "./config.ts";
import { learningRateAt } from "./learning-rate.ts";
import { presets } from "./presets.ts";

const learningRate = 0.02;
const rateAt = (schedule: TrainingConfig["schedule"], step: number, warmupSteps = 4) =>
  learningRateAt({ learningRate, warmupSteps, schedule }, step);

describe("the learning rate", () => {
  it("rises along a line for the warm-up, whatever follows", () => {
    const constant = { kind: "constant" } as const;
    const cosine = { kind: "cosine", decaySteps: 10, floor: 0.1 } as const;
    const wsd = { kind: "wsd", stableSteps: 3, decaySteps: 10, floor: 0.1 } as const;
    for (const schedule of [constant, cosine, wsd])
      for (const [step, rate] of [0, 0.005, 0.01, 0.015, 0.02].entries())
        expect(rateAt(schedule, step)).toBeCloseTo(rate, 15);
  });

  it("is then constant", () => {
    for (const step of [4, 5, 1_000_000]) expect(rateAt({ kind: "constant" }, step)).toBe(learningRate);
    expect(rateAt({ kind: "constant" }, 1, 0)).toBe(learningRate);
  });

  it("or falls along half a cosine wave to the floor, and stays there", () => {
    const schedule = { kind: "cosine", decaySteps: 60, floor: 0.1 } as const;
    // A third of the way cos(π/3) = 1/2 leaves 3/4 of the fall; in the middle it is 1/2; at two thirds, 1/4.
    for (const [step, left] of [
      [4, 1],
      [24, 0.75],
      [34, 0.5],
      [44, 0.25],
      [64, 0],
      [65, 0],
      [9999, 0],
    ] as const)
      expect(rateAt(schedule, step), `step ${step}`).toBeCloseTo(0.002 + 0.018 * left, 15);
  });

  it("or is stable and then falls along a line to the floor, and stays there", () => {
    const schedule = { kind: "wsd", stableSteps: 6, decaySteps: 8, floor: 0.2 } as const;
    for (const [step, rate] of [
      [4, 0.02],
      [10, 0.02],
      [11, 0.018],
      [14, 0.012],
      [18, 0.004],
      [19, 0.004],
      [9999, 0.004],
    ] as const)
      expect(rateAt(schedule, step), `step ${step}`).toBeCloseTo(rate, 15);
  });
});

describe("training settings", () => {
  const { training } = presets.tiny;
  const badKeys = (settings: Readonly<Record<string, unknown>>) =>
    trainingConfigSchema.safeParse({ ...training, ...settings }).error?.issues.map((issue) => issue.path.join("."));

  it("name the key that is wrong", () => {
    const cosine = { kind: "cosine", decaySteps: 100, floor: 0.1 };
    expect(badKeys({ schedule: cosine, optimizer: "nadam", clipGradientNorm: 1 })).toBeUndefined();
    expect(badKeys({ schedule: { kind: "step" } })).toEqual(["schedule.kind"]);
    expect(badKeys({ schedule: { ...cosine, decaySteps: 0 } })).toEqual(["schedule.decaySteps"]);
    expect(badKeys({ schedule: { ...cosine, floor: 1.5 } })).toEqual(["schedule.floor"]);
    expect(badKeys({ schedule: { ...cosine, kind: "wsd" } })).toEqual(["schedule.stableSteps"]);
    expect(badKeys({ optimizer: "sgd" })).toEqual(["optimizer"]);
    expect(badKeys({ clipGradientNorm: 0 })).toEqual(["clipGradientNorm"]);
  });

  it("of runs that were defined before there was a choice mean what they meant", () => {
    const { schedule: _, optimizer: __, clipGradientNorm: ___, ...before } = training;
    expect(trainingConfigSchema.parse(before)).toEqual(training);
    expect(training).toMatchObject({ schedule: { kind: "constant" }, optimizer: "adamw", clipGradientNorm: null });
  });
});
