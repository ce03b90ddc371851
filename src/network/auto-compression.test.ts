import { describe, expect, it } from "vitest";
import { presets } from "../compute/model/presets.ts";
import { failureOf } from "../protocol/failure.ts";
import { expectedPlan, planFor } from "./expected-plan.ts";
import { fakeDefinition } from "./orchestrator/core/fake-swarm.ts";
import { defineRun, mustBeSameRun, type RunOptions } from "./run-options.ts";

const auto = { preset: "demo", replicas: 2, compression: "auto" } as const;

function define(options: RunOptions) {
  return defineRun(options, { ...fakeDefinition(), model: presets[options.preset].model });
}

describe("a run whose compression is left to the plan", () => {
  it("is trained as the plan says that people are shown before", () => {
    const plan = expectedPlan(auto);
    const { training, model } = define(auto);
    const { microbatchesPerStep, sequencesPerMicrobatch, stepsPerEpoch, compression } = training;
    expect(plan).toMatchObject({ microbatchesPerStep, sequencesPerMicrobatch, stepsPerEpoch, compression });
    expect(plan?.bottleneckRank).toBe(model.bottleneck?.rank ?? null);
  });

  it("is the same run when it is looked at again, with the bottlenecks that it has by then", () => {
    const stored = define(auto);
    expect(stored.model.bottleneck).toBeDefined();
    mustBeSameRun(stored, auto);
    expect(() => mustBeSameRun(stored, { ...auto, microbatchesPerStep: 3 })).toThrow(
      expect.toSatisfy((error) => failureOf(error)?.code === "invalid-option"),
    );
  });

  it("is the same run when it is to train for longer, for which another plan would be made", () => {
    const stored = define({ ...auto, tokens: 300_000 });
    const longer = { ...auto, tokens: 300_000_000 };
    expect(define(longer).training).not.toEqual(stored.training);
    mustBeSameRun(stored, longer);
    const { stepsPerEpoch } = stored.training;
    mustBeSameRun(stored, { ...longer, stepsPerEpoch });
    for (const other of [{ stepsPerEpoch: stepsPerEpoch + 1 }, { bottleneck: 3 }, { boundaryBackward: "f32" }] as const)
      expect(() => mustBeSameRun(stored, { ...longer, ...other })).toThrow(/differs in/);
    expect(() => mustBeSameRun(define({ ...auto, compression: "off" }), auto)).toThrow(/differs in/);
  });

  it("follows the links in what its owner has left open", () => {
    expect(define(auto).adapts).toEqual(["boundary-formats", "steps-per-epoch"]);
    expect(define({ ...auto, boundaryForward: "int4" }).adapts).toEqual(["steps-per-epoch"]);
    expect(define({ ...auto, stepsPerEpoch: 5 }).adapts).toEqual(["boundary-formats"]);
    for (const fixed of [{ compression: "off" }, { mode: "sync" }] as const)
      expect(define({ ...auto, ...fixed }).adapts).toBeUndefined();
  });

  it("does what its owner has asked for, and plans around it", () => {
    const asked = {
      boundaryBackward: "int8",
      exchange: "off",
      mergeCodec: "dense8",
      microbatchesPerStep: 6,
      sequencesPerMicrobatch: 2,
      bottleneck: 20,
    } as const;
    const { training, model } = define({ ...auto, ...asked });
    expect(training).toMatchObject({ microbatchesPerStep: 6, sequencesPerMicrobatch: 2 });
    expect(training.compression).toMatchObject({ exchange: null, merge: { kind: "dense", bits: 8 } });
    expect(training.compression.boundary.backward).toBe("int8");
    expect(model.bottleneck?.rank).toBe(20);
  });

  it("comes to something in every preset, on links of every kind", () => {
    for (const preset of Object.keys(presets) as (keyof typeof presets)[])
      for (const upBytesPerSecond of [1e3, 2.5e6, 1e9]) {
        const link = { upBytesPerSecond, downBytesPerSecond: upBytesPerSecond, roundTripMs: 40 };
        const { efficiency, lossGapPercent } = planFor({ preset, replicas: 333 }, link);
        expect(efficiency).toBeGreaterThan(0);
        expect(lossGapPercent).toBeGreaterThanOrEqual(0);
      }
  });
});

describe("what a run is expected to cost", () => {
  it("is said of one without compression, too", () => {
    const plan = expectedPlan({ ...auto, compression: "off" });
    expect(plan?.compression).toEqual(presets.demo.training.compression);
  });

  it("is not known of a model that only the network can look at", () => {
    expect(expectedPlan({ ...auto, from: "somewhere" })).toBeNull();
  });
});
