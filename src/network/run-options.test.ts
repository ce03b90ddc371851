import { describe, expect, it } from "vitest";
import { presets } from "../compute/model/presets.ts";
import { failureOf } from "../protocol/failure.ts";
import { planStages } from "./orchestrator/core/definition.ts";
import { fakeDefinition } from "./orchestrator/core/fake-swarm.ts";
import { defineRun, mustBeSameRun, trainingOf } from "./run-options.ts";

const asked = { preset: "tiny", replicas: 2 } as const;

describe("a run's training", () => {
  it("is the preset's but for what was asked for", () => {
    const training = trainingOf({ ...asked, stepsPerEpoch: 12, maxStaleness: 2, optimizer: "nadam", seed: 7 });
    expect(training).toEqual({
      ...trainingOf(asked),
      ...{ stepsPerEpoch: 12, maximumStaleness: 2, optimizer: "nadam", seed: 7 },
    });
  });

  it("merges in what is asked for, and otherwise in what the preset has", () => {
    const { merge } = presets[asked.preset].training.compression;
    expect(trainingOf(asked).compression.merge).toEqual(merge);
    expect(trainingOf({ ...asked, mergeCodec: "topk1" }).compression.merge).toEqual({ kind: "top-k", share: 0.01 });
  });

  it("exchanges every step where that is asked for, and is refused what makes no sense", () => {
    expect(trainingOf({ ...asked, exchange: "dense2", exchangeLag: 1 }).compression.exchange).toEqual({
      codec: { kind: "dense", bits: 2 },
      lag: 1,
    });
    expect(trainingOf({ ...asked, exchange: "f32" }).compression.exchange).toEqual({ codec: { kind: "f32" }, lag: 0 });
    const { learningRate } = trainingOf(asked);
    expect(trainingOf({ ...asked, replicas: 9, exchange: "dense2" })).toMatchObject({
      learningRate: 2 * learningRate,
      outerLearningRate: 1,
      outerMomentum: 0,
    });
    expect(trainingOf({ ...asked, exchange: "off" }).compression.exchange).toBeNull();
    for (const nonsense of [{ mode: "sync", exchange: "dense2" }, { exchangeLag: 1 }] as const)
      expect(() => trainingOf({ ...asked, ...nonsense })).toThrow(
        expect.toSatisfy((error) => failureOf(error)?.code === "invalid-option"),
      );
  });

  it("takes one step per epoch in sync mode, and is refused where more are asked for", () => {
    expect(trainingOf({ ...asked, mode: "sync" })).toMatchObject({ stepsPerEpoch: 1, maximumStaleness: 0 });
    for (const more of [{ stepsPerEpoch: 2 }, { maxStaleness: 1 }])
      expect(() => trainingOf({ ...asked, mode: "sync", ...more })).toThrow(
        expect.toSatisfy((error) => failureOf(error)?.code === "invalid-option"),
      );
  });
});

describe("a run with bottlenecks", () => {
  const { tokenizer, dataset } = fakeDefinition();
  const { model } = presets.tiny;
  const define = (options: object, from = model) =>
    defineRun({ ...asked, stages: 3, ...options }, { model: from, tokenizer, dataset });
  const refusal = (options: object) => {
    try {
      define(options);
    } catch (error) {
      return failureOf(error);
    }
    return undefined;
  };

  it("has one wherever its model is cut", () => {
    const definition = define({ bottleneck: 8, bottleneckHidden: 24 });
    const cuts = planStages(definition).flatMap(({ spec }) => (spec.index === 0 ? [] : [spec.fromLayer]));
    expect(definition.model.bottleneck).toEqual({ rank: 8, hidden: 24, beforeLayers: cuts });
    expect(cuts).toHaveLength(2);
    expect(define({}).model).toEqual(model);
    expect(define({ bottleneck: 0 }).model).toEqual(model);
  });

  it("has a quarter of the model's channels inside them unless it asks for others", () => {
    expect(define({ bottleneck: 8 }).model.bottleneck?.hidden).toBe(model.width / 4);
  });

  it("crosses in the formats that are asked for", () => {
    const { boundary } = define({ boundaryForward: "int8", boundaryBackward: "int4" }).training.compression;
    expect(boundary).toEqual({ forward: "int8", backward: "int4" });
  });

  it("is refused where there is nothing to squeeze, or too much, with what to do instead", () => {
    expect(refusal({ bottleneck: 8, stages: 1 })?.action).toContain("--stages");
    expect(refusal({ bottleneck: model.width })?.action).toContain(`${model.width} channels`);
    expect(refusal({ bottleneckHidden: 24 })?.action).toContain("--bottleneck");
    expect(refusal({ bottleneck: 8, from: "some/model" })?.action).toContain("checkpoint");
  });

  it("keeps those of the checkpoint that it goes on with, however it is cut", () => {
    const squeezed = { ...model, bottleneck: { rank: 4, hidden: 8, beforeLayers: [1] } };
    expect(define({ from: "some/model", stages: 3 }, squeezed).model).toEqual(squeezed);
  });

  it("is another run than one without", () => {
    const stored = define({ bottleneck: 8 });
    expect(() => mustBeSameRun(stored, { ...asked, stages: 3, bottleneck: 8 })).not.toThrow();
    expect(() => mustBeSameRun(stored, { ...asked, stages: 3 })).toThrow(/differs in bottleneck/);
  });
});
