import { describe, expect, it } from "vitest";
import { mergeContributions, sliceFrom, wholeContribution } from "../../test/compute/merge-contributions.ts";
import { asTheyAre, brokenPayloadOf, payloadOf } from "../../test/compute/payloads.ts";
import { model, openEngine, sample, sequenceLength, train, whole } from "../../test/compute/small-engine.ts";
import { MalformedPayloadError } from "./codec/malformed.ts";
import type { StageSpec } from "./model/config.ts";
import { stageLayout } from "./model/layout.ts";
import { cutIntoStages } from "./model/stages.ts";

describe("numbers that are not finite", () => {
  const [, second] = cutIntoStages(model, 2) as [StageSpec, StageSpec];
  const { sequences, targets } = sample("a");
  const rows = sequences * sequenceLength;
  const numbers = new Float32Array(rows * model.width).fill(1);
  const healthy = payloadOf(numbers, model.width);
  const broken = brokenPayloadOf(numbers, model.width);

  it("in received activations are refused before they touch the gradients", async () => {
    const engine = await openEngine(second);
    const common = { sequences, rows, targets, send: asTheyAre };
    const call = engine.forwardBackward({ microbatch: "a", activations: broken, ...common });
    await expect(call).rejects.toBeInstanceOf(MalformedPayloadError);
    await engine.forwardBackward({ microbatch: "b", activations: healthy, ...common });
    expect((await engine.step()).tokens).toBe(16);
  });

  it("in a received gradient cost that microbatch only", async () => {
    const [first] = cutIntoStages(model, 2) as [StageSpec];
    const engine = await openEngine(first);
    const send = asTheyAre;
    for (const name of ["a", "b"]) await engine.forward({ microbatch: name, ...sample(name), send });
    const backward = (microbatch: string, gradient: Uint8Array) =>
      engine.backward({ microbatch, gradient, send: null });
    await expect(backward("a", broken)).rejects.toBeInstanceOf(MalformedPayloadError);
    await backward("b", healthy);
    expect((await engine.step()).tokens).toBe(16);
  });

  it("that come out of the stage itself are named, and never stepped on", async () => {
    const engine = await openEngine();
    const state = await engine.state();
    const weights = state.weights.slice();
    weights.fill(Number.POSITIVE_INFINITY, 0, model.vocabulary * model.width);
    await engine.load({ ...state, weights });
    await expect(train(engine, "a")).rejects.toMatchObject({ tensor: "embedding" });
    expect(await engine.step()).toEqual({ tokens: 0, gradientNorm: 0 });
  });

  it.each([
    ["layers.1.feedForward.down", "layers.1"],
    ["head", "loss"],
  ])("that come from broken weights of %s are found in %s, and never stepped on", async (name, found) => {
    const engine = await openEngine();
    const state = await engine.state();
    const tensor = stageLayout(model, whole).tensors.find((each) => each.name === name);
    const weights = state.weights.slice();
    weights[tensor?.offset ?? Number.NaN] = Number.NaN;
    await engine.load({ ...state, weights });
    await expect(train(engine, "a")).rejects.toMatchObject({ tensor: found });
    expect(await engine.step()).toEqual({ tokens: 0, gradientNorm: 0 });
  });

  it("in a merged slice are refused, and the merge can be had without it", async () => {
    const engine = await openEngine();
    await train(engine, "a");
    await engine.step();
    const { values, tokens } = await wholeContribution(engine);
    const before = await engine.state();
    await engine.beginMerge();
    await engine.mergeSlice(sliceFrom(0, values.subarray(0, 3)));
    await expect(engine.mergeSlice(sliceFrom(3, Float32Array.of(Number.NaN)))).rejects.toThrow(MalformedPayloadError);
    expect(await engine.state()).toEqual(before);
    await mergeContributions(engine, "local-steps", [{ values, tokens }]);
    expect(await engine.state()).not.toEqual(before);
  });
});
