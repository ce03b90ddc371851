import { describe, expect, it } from "vitest";
import { asTheyAre, payloadOf } from "../../test/compute/payloads.ts";
import {
  model,
  openEngine,
  pipe,
  sample,
  sequenceLength,
  train,
  training,
  whole,
} from "../../test/compute/small-engine.ts";
import { difference } from "../../test/compute/small-model.ts";
import type { RowFormat } from "../protocol/run-config.ts";
import { createReferenceDevice } from "./backends/reference/device.ts";
import { MalformedPayloadError } from "./codec/malformed.ts";
import { rowPayloadBytes } from "./codec/rows.ts";
import { type ComputeEngine, createEngine } from "./engine.ts";
import { type Device, DeviceMemoryError } from "./kernels.ts";
import type { StageSpec } from "./model/config.ts";
import { cutIntoStages } from "./model/stages.ts";

describe("an engine", () => {
  it("trains: the loss on a repeated microbatch falls", async () => {
    const engine = await openEngine(whole, { learningRate: 0.01 });
    const first = await train(engine, "a");
    for (let step = 0; step < 20; step++) {
      const { tokens, gradientNorm } = await engine.step();
      expect(tokens).toBe(16);
      expect(gradientNorm).toBeGreaterThan(0);
      await train(engine, "a");
    }
    expect(await train(engine, "a")).toBeLessThan(0.5 * first);
  });

  it("does nothing when it steps without gradients", async () => {
    const engine = await openEngine();
    const before = await engine.state();
    expect(await engine.step()).toEqual({ tokens: 0, gradientNorm: 0 });
    expect(await engine.state()).toEqual(before);
  });

  it("goes on from a saved state exactly, whatever was in flight", async () => {
    const engine = await openEngine(whole, { outerLearningRate: 1, outerMomentum: 0 });
    await train(engine, "a", "b");
    await engine.step();
    const state = await engine.state();
    const other = await openEngine(whole, { outerLearningRate: 1, outerMomentum: 0 });
    await train(other, "z");
    await other.step();
    await train(other, "y");
    await other.load(state);
    for (const each of [engine, other]) {
      await train(each, "c");
      await each.step();
    }
    expect(difference((await other.state()).weights, (await engine.state()).weights)).toBeLessThan(1e-6);
    expect((await other.state()).optimizer.at(-1)).toBe(2);
  });

  it("evaluates any number of sequences without training on them", async () => {
    const engine = await openEngine();
    const before = await engine.state();
    const { sequences, tokens, targets } = sample("evaluation", 5);
    const { lossSumNats } = await engine.evaluate({ sequences, tokens, targets });
    let oneByOne = 0;
    for (let sequence = 0; sequence < sequences; sequence++) {
      const part = (all: Int32Array) => all.subarray(sequence * sequenceLength, (sequence + 1) * sequenceLength);
      oneByOne += (await engine.evaluate({ sequences: 1, tokens: part(tokens), targets: part(targets) })).lossSumNats;
    }
    expect(lossSumNats).toBeCloseTo(oneByOne, 10);
    expect(await engine.step()).toEqual({ tokens: 0, gradientNorm: 0 });
    expect(await engine.state()).toEqual(before);
  });

  it("keeps several microbatches in flight, in any order, and forgets those it is told to", async () => {
    const [first, second] = cutIntoStages(model, 2) as [StageSpec, StageSpec];
    const inOrder = await openEngine(first);
    const shuffled = await openEngine(first);
    const last = await openEngine(second);
    const gradients = new Map<string, Uint8Array>();
    const send = asTheyAre;
    for (const name of ["a", "b", "c"]) {
      const { sequences, tokens, targets } = sample(name);
      const forward = await inOrder.forward({ microbatch: name, sequences, tokens, send });
      expect(await shuffled.forward({ microbatch: name, sequences, tokens, send })).toEqual(forward);
      const { activations } = forward;
      const input = { microbatch: name, sequences, rows: tokens.length, activations };
      const result = await last.forwardBackward({ ...input, targets, send });
      gradients.set(name, result.inputGradient as Uint8Array);
    }
    const backward = (engine: ComputeEngine, microbatch: string) =>
      engine.backward({ microbatch, gradient: gradients.get(microbatch) as Uint8Array, send });
    await shuffled.discard({ microbatches: ["b", "never seen"] });
    await expect(backward(shuffled, "b")).rejects.toThrow("not in flight");
    for (const name of ["c", "a"]) await backward(shuffled, name);
    await inOrder.discard({ microbatches: ["b"] });
    for (const name of ["a", "c"]) await backward(inOrder, name);
    const [one, other] = [await inOrder.step(), await shuffled.step()];
    expect(other.tokens).toBe(one.tokens);
    expect(other.gradientNorm).toBeCloseTo(one.gradientNorm, 12);
  });

  it("refuses a second microbatch of the same name, and calls that its stage cannot answer", async () => {
    const [first] = cutIntoStages(model, 2) as [StageSpec];
    const engine = await openEngine(first);
    const { sequences, tokens, targets } = sample("a");
    const input = { microbatch: "a", sequences, tokens, send: asTheyAre };
    await engine.forward(input);
    await expect(engine.forward(input)).rejects.toThrow("already in flight");
    await expect(engine.evaluate({ sequences, tokens, targets })).rejects.toThrow("only the last stage");
    await expect(createEngine(async () => createReferenceDevice()).step()).rejects.toThrow("no stage is open");
  });

  it("refuses a payload that is none, and drops that microbatch only", async () => {
    const [first] = cutIntoStages(model, 2) as [StageSpec];
    const engine = await openEngine(first);
    const send = asTheyAre;
    for (const name of ["a", "b"]) await engine.forward({ microbatch: name, ...sample(name), send });
    const gradient = payloadOf(new Float32Array(2 * sequenceLength * model.width).fill(1), model.width);
    const short = engine.backward({ microbatch: "a", gradient: gradient.subarray(1), send: null });
    await expect(short).rejects.toBeInstanceOf(MalformedPayloadError);
    await engine.backward({ microbatch: "b", gradient, send: null });
    expect((await engine.step()).tokens).toBe(16);
  });

  it("closes its device when a stage does not fit", async () => {
    let closed = 0;
    const fakeFullDevice: Device = {
      ...createReferenceDevice(),
      allocate: (length) => {
        throw new DeviceMemoryError(4 * length, "a full device");
      },
      close: () => closed++,
    };
    const engine = createEngine(async () => fakeFullDevice);
    const opening = engine.open({ backend: "reference", threads: 1, model, stage: whole, training });
    await expect(opening).rejects.toBeInstanceOf(DeviceMemoryError);
    expect(closed).toBe(1);
  });
});

describe("stages with few bits and few channels between them", () => {
  const squeezed = { ...model, bottleneck: { rank: 8, hidden: 12, beforeLayers: [1, 2] } };
  const specs = cutIntoStages(squeezed, 3);
  const formats = { forward: "int8", backward: "int4" } as const;
  const settings = { learningRate: 0.01 };
  const openChain = async () => {
    const stages: ComputeEngine[] = [];
    for (const spec of specs) stages.push(await openEngine(spec, settings, squeezed));
    return stages;
  };
  const step = (stages: readonly ComputeEngine[]) => Promise.all(stages.map((stage) => stage.step()));

  it("have the loss of the whole model while nothing is rounded", async () => {
    const alone = await openEngine(whole, settings, squeezed);
    const stages = await openChain();
    for (let steps = 0; steps < 3; steps++) {
      const expected = await train(alone, "a");
      expect(Math.abs((await pipe(stages, "a")) / expected - 1)).toBeLessThan(1e-6);
      await alone.step();
      await step(stages);
    }
  });

  it("learn", async () => {
    const stages = await openChain();
    const first = await pipe(stages, "a", formats);
    for (let steps = 0; steps < 30; steps++) {
      await step(stages);
      await pipe(stages, "a", formats);
    }
    expect(await pipe(stages, "a", formats)).toBeLessThan(0.5 * first);
  });

  it("say how large the stream is, and how much of it rounding took", async () => {
    const [spec] = specs as [StageSpec];
    const engine = await openEngine(spec, settings, squeezed);
    const health = async (format: RowFormat) => {
      const { activations, boundary } = await engine.forward({ microbatch: format, ...sample("a"), send: { format } });
      expect(activations.length).toBe(rowPayloadBytes(format, { rows: 16, columns: 8 }));
      return boundary;
    };
    const exact = await health("f32");
    expect(exact.rms).toBeGreaterThan(0.5);
    expect(exact.relativeError).toBe(0);
    const errors = [(await health("bf16")).relativeError, (await health("int8")).relativeError];
    errors.push((await health("int4")).relativeError, (await health("int2")).relativeError);
    expect(errors).toEqual(errors.toSorted((a, b) => a - b));
    expect(errors[3]).toBeLessThan(1);
  });
});
