import { describe, expect, it } from "vitest";
import {
  mergeContributions,
  sliceFrom,
  type WholeContribution,
  wholeContribution,
} from "../../test/compute/merge-contributions.ts";
import { asTheyAre, brokenPayloadOf, payloadOf } from "../../test/compute/payloads.ts";
import { difference, randomTokens, smallModel } from "../../test/compute/small-model.ts";
import { bytesOf, hashBytes } from "../protocol/identity.ts";
import { type RunId, runIdSchema } from "../protocol/ids.ts";
import { type BoundaryFormats, noCompression, type RowFormat } from "../protocol/run-config.ts";
import { createReferenceDevice } from "./backends/reference/device.ts";
import { MalformedPayloadError } from "./codec/malformed.ts";
import { rowPayloadBytes } from "./codec/rows.ts";
import { type ComputeEngine, createEngine } from "./engine.ts";
import { type Device, DeviceMemoryError } from "./kernels.ts";
import { averageSlices } from "./merge/average-slices.ts";
import type { StageSpec, TrainingConfig } from "./model/config.ts";
import { stageLayout } from "./model/layout.ts";
import { stageMemory } from "./model/memory-plan.ts";
import { presets } from "./model/presets.ts";
import { cutIntoStages, wholeModel } from "./model/stages.ts";
import type { ReplicaState } from "./worker-protocol.ts";

const model = smallModel;
const sequenceLength = 8;
const training: TrainingConfig = {
  ...presets.tiny.training,
  mode: "local-steps",
  sequenceLength,
  sequencesPerMicrobatch: 2,
  weightDecay: 0.1,
  outerLearningRate: 0.7,
  outerMomentum: 0.6,
};
const whole = wholeModel(model);

async function openEngine(
  stage: StageSpec = whole,
  settings: Partial<TrainingConfig> = {},
  of = model,
): Promise<ComputeEngine> {
  const engine = createEngine(async () => createReferenceDevice());
  await engine.open({ backend: "reference", threads: 1, model: of, stage, training: { ...training, ...settings } });
  return engine;
}

function sample(name: string, sequences = 2) {
  return {
    sequences,
    tokens: randomTokens(model, sequences * sequenceLength, `${name} tokens`),
    targets: randomTokens(model, sequences * sequenceLength, `${name} targets`),
  };
}

async function train(engine: ComputeEngine, ...names: string[]): Promise<number> {
  let loss = 0;
  for (const name of names)
    loss += (await engine.forwardBackward({ microbatch: name, ...sample(name), send: null })).lossSumNats;
  return loss;
}

/** One microbatch through a chain of engines; returns its loss. */
async function pipe(
  stages: readonly ComputeEngine[],
  name: string,
  formats: BoundaryFormats = noCompression.boundary,
): Promise<number> {
  const { sequences, tokens, targets } = sample(name);
  const common = { microbatch: name, sequences, rows: tokens.length };
  const send = { format: formats.backward, noise: 7 };
  let input: { tokens: Int32Array } | { activations: Uint8Array } = { tokens };
  for (const stage of stages.slice(0, -1)) {
    const { activations } = await stage.forward({ ...common, ...input, send: { format: formats.forward } });
    input = { activations };
  }
  const last = stages.at(-1) as ComputeEngine;
  const { lossSumNats, inputGradient } = await last.forwardBackward({ ...common, targets, ...input, send });
  let gradient = inputGradient;
  for (const stage of stages.slice(0, -1).toReversed()) {
    if (!gradient) throw new Error("a later stage returns a gradient");
    gradient = (await stage.backward({ microbatch: name, gradient, send })).inputGradient;
  }
  expect(gradient).toBeNull();
  return lossSumNats;
}

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

describe("a device whose kernels see little at once", () => {
  const [first, last] = cutIntoStages(model, 2) as [StageSpec, StageSpec];
  const open = async (stage: StageSpec, sequencesPerMicrobatch: number, largestOperand: number) => {
    let allocations = 0;
    const device = createReferenceDevice();
    const fakeNarrowDevice: Device = {
      ...device,
      largestOperand,
      allocate(length) {
        allocations++;
        return device.allocate(length);
      },
    };
    const engine = createEngine(async () => fakeNarrowDevice);
    const settings = { ...training, sequencesPerMicrobatch };
    const opening = engine.open({ backend: "reference", threads: 1, model, stage, training: settings });
    await opening.finally(() => engine.close());
    return allocations;
  };

  it.each([
    ["a tensor", first, 1, "embedding", 24 * 16],
    ["a microbatch's matrix", first, 8, "gate of 64 tokens", 64 * 20],
    ["a microbatch's logits", last, 8, "logits", 64 * 24],
  ] as const)(
    "opens a stage when %s fits, and refuses it with both numbers when not",
    async (_, stage, sequences, name, length) => {
      expect(await open(stage, sequences, length)).toBeGreaterThan(0);
      await expect(open(stage, sequences, length - 1)).rejects.toMatchObject({
        name: DeviceMemoryError.name,
        requestedBytes: 4 * length,
        message: expect.stringMatching(
          `${name}: it takes ${4 * length} bytes, and kernels see ${4 * (length - 1)} at once`,
        ),
      });
    },
  );
});

describe("a full device", () => {
  const [first] = cutIntoStages(model, 2) as [StageSpec];
  const { sequences, tokens } = sample("a");

  it("refuses a microbatch, and takes it when another has made room", async () => {
    const device = createReferenceDevice();
    let roomElements = Number.POSITIVE_INFINITY;
    const fakeSmallDevice: Device = {
      ...device,
      allocate(length) {
        if (length > roomElements) throw new DeviceMemoryError(4 * length, "a full device");
        roomElements -= length;
        return device.allocate(length);
      },
      free(buffer) {
        if (buffer.element === "real") roomElements += buffer.length;
        device.free(buffer);
      },
    };
    const engine = createEngine(async () => fakeSmallDevice);
    await engine.open({ backend: "reference", threads: 1, model, stage: first, training });
    const send = asTheyAre;
    roomElements = 3000;
    await engine.forward({ microbatch: "a", sequences, tokens, send });
    for (let attempt = 0; attempt < 3; attempt++) {
      await expect(engine.forward({ microbatch: "b", sequences, tokens, send })).rejects.toBeInstanceOf(
        DeviceMemoryError,
      );
      expect(roomElements).toBe(3000);
    }
    await engine.discard({ microbatches: ["a"] });
    await engine.forward({ microbatch: "b", sequences, tokens, send });
  });
});

describe("a memory limit", () => {
  const [first] = cutIntoStages(model, 2) as [StageSpec];
  const work = { model, stage: first, training };
  const { sequences, tokens } = sample("a");
  const needs = { microbatchesInFlight: 3, workspaceBytes: 0 };
  const roomy = stageMemory(work, needs, false);
  const tight = stageMemory(work, needs, true);
  const open = async (memoryLimitBytes: number) => {
    const engine = createEngine(async () => createReferenceDevice());
    const { memory } = await engine.open({ backend: "reference", threads: 1, ...work, ...needs, memoryLimitBytes });
    return { engine, memory };
  };

  it("lets activations be kept where they fit, and has them recomputed where they do not", async () => {
    expect((await open(roomy.totalBytes)).memory).toEqual(roomy);
    expect((await open(roomy.totalBytes - 1)).memory).toEqual(tight);
    expect((await open(tight.totalBytes)).memory).toEqual(tight);
  });

  it("too low for a stage is refused with what is missing", async () => {
    await expect(open(tight.totalBytes - 1)).rejects.toMatchObject({
      name: DeviceMemoryError.name,
      requestedBytes: tight.totalBytes,
      message: expect.stringMatching(
        /stage 1 of 2: it takes 1 MiB, which is 1 MiB too much \(weights 1 MiB, .*3 microbatches/,
      ),
    });
  });

  it("refuses more microbatches in flight than there is room for, and takes the next when one has come back", async () => {
    const { engine } = await open(tight.totalBytes);
    const forward = (microbatch: string) => engine.forward({ microbatch, sequences, tokens, send: asTheyAre });
    for (const microbatch of ["a", "b", "c"]) await forward(microbatch);
    await expect(forward("d")).rejects.toBeInstanceOf(DeviceMemoryError);
    const gradient = payloadOf(new Float32Array(sequences * sequenceLength * model.width).fill(1), model.width);
    await engine.backward({ microbatch: "b", gradient, send: null });
    await forward("d");
    expect((await engine.step()).tokens).toBe(sequences * sequenceLength);
  });

  it("leaves room for a generating model's cache only while it generates", async () => {
    const request = { prompt: tokens.subarray(0, 3), count: 5, temperature: 0, seed: 1 };
    const written = [];
    for (const limited of [false, true]) {
      const engine = createEngine(async () => createReferenceDevice());
      const limit = limited && { memoryLimitBytes: stageMemory({ ...work, stage: whole }, needs, true).totalBytes };
      await engine.open({ backend: "reference", threads: 1, ...work, ...needs, stage: whole, ...limit });
      written.push(await engine.generate(request));
    }
    expect(written[1]).toEqual(written[0]);
  });
});

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

describe("a merge", () => {
  it.each(["sync", "local-steps"] as const)("in %s mode leaves replicas with the same bits", async (mode) => {
    const replicas = [await openEngine(whole, { mode }), await openEngine(whole, { mode })] as const;
    for (const epoch of [0, 1]) {
      await train(replicas[0], `a${epoch}`);
      await train(replicas[1], `b${epoch}`, `c${epoch}`);
      if (mode === "local-steps") for (const replica of replicas) await replica.step();
      const contributions: WholeContribution[] = [];
      for (const replica of replicas) contributions.push(await wholeContribution(replica));
      expect(contributions.map(({ tokens }) => tokens)).toEqual([16, 32]);
      for (const replica of replicas) await mergeContributions(replica, mode, contributions);
      const [one, other] = (await Promise.all(replicas.map((replica) => replica.state()))) as [
        ReplicaState,
        ReplicaState,
      ];
      expect(one.weights).toEqual(other.weights);
      if (mode === "sync") expect(one.optimizer).toEqual(other.optimizer);
    }
  });

  it("weighs pseudo-gradients by tokens: with a plain outer step it is the average of the weights", async () => {
    const plain = { outerLearningRate: 1, outerMomentum: 0 };
    const replicas = [await openEngine(whole, plain), await openEngine(whole, plain)] as const;
    await train(replicas[0], "a");
    await train(replicas[1], "b", "c", "d");
    for (const replica of replicas) await replica.step();
    const [one, other] = [await replicas[0].state(), await replicas[1].state()];
    const contributions = [await wholeContribution(replicas[0]), await wholeContribution(replicas[1])];
    await mergeContributions(replicas[0], "local-steps", contributions);
    const average = one.weights.map((value, i) => (value + 3 * (other.weights[i] ?? Number.NaN)) / 4);
    expect(difference((await replicas[0].state()).weights, average)).toBeLessThan(1e-6);
  });

  it("takes the outer step from the epoch's start, and its momentum goes on in the next", async () => {
    const engine = await openEngine();
    const start = (await engine.state()).weights;
    await train(engine, "a");
    await engine.step();
    const { values, tokens } = await wholeContribution(engine);
    await mergeContributions(engine, "local-steps", [{ values, tokens }]);
    const { outerLearningRate, outerMomentum } = training;
    // After one epoch the momentum is the pseudo-gradient g, and the step is lr · (g + momentum · g).
    const once = start.map((value, i) => value - outerLearningRate * (1 + outerMomentum) * (values[i] ?? Number.NaN));
    expect(difference((await engine.state()).weights, once)).toBeLessThan(1e-6);
    const idle = { values: new Float32Array(values.length), tokens };
    await mergeContributions(engine, "local-steps", [idle]);
    const twice = once.map((value, i) => value - outerLearningRate * outerMomentum ** 2 * (values[i] ?? Number.NaN));
    expect(difference((await engine.state()).weights, twice)).toBeLessThan(1e-6);
  });

  it("without gradients decays matrices by the warmed-up learning rate, and leaves norm gains alone", async () => {
    const { learningRate, warmupSteps, weightDecay } = training;
    const engine = await openEngine(whole, { mode: "sync" });
    const before = (await engine.state()).weights;
    const nothing = { values: new Float32Array(before.length), tokens: 1 };
    for (let step = 0; step < warmupSteps + 2; step++) await mergeContributions(engine, "sync", [nothing]);
    const rates = [...Array.from({ length: warmupSteps }, (_, step) => (step + 1) / warmupSteps), 1, 1];
    const kept = rates.reduce((product, rate) => product * (1 - rate * learningRate * weightDecay), 1);
    const after = (await engine.state()).weights;
    for (const { name, role, offset, length } of stageLayout(model, whole).tensors) {
      const expected = before.subarray(offset, offset + length).map((value) => value * (role === "gain" ? 1 : kept));
      expect(difference(after.subarray(offset, offset + length), expected), name).toBeLessThan(1e-6);
    }
  });

  it("of nobody's work returns to the epoch's start", async () => {
    const engine = await openEngine();
    const { weights } = await engine.state();
    await train(engine, "a");
    await engine.step();
    await mergeContributions(engine, "local-steps", []);
    expect((await engine.state()).weights).toEqual(weights);
  });

  it("that lacks a slice leaves it as it was when the epoch began, momentum and all", async () => {
    for (const mode of ["sync", "local-steps"] as const) {
      const engine = await openEngine(whole, { mode, stepsPerEpoch: 1 });
      const contribute = async (name: string) => {
        await train(engine, name);
        if (mode === "local-steps") await engine.step();
        return wholeContribution(engine);
      };
      // An epoch that moves everything, so that there is momentum; then one that lacks the middle.
      await mergeContributions(engine, mode, [await contribute("a")]);
      const before = await engine.state();
      const { values, tokens } = await contribute("b");
      const { length } = values;
      const [from, to] = [Math.floor(length / 3), Math.floor((2 * length) / 3)];
      await engine.beginMerge();
      await engine.mergeSlice(sliceFrom(to, values.subarray(to)));
      await engine.mergeSlice(sliceFrom(0, values.subarray(0, from)));
      await engine.applyMerged({ tokens, counted: true });
      const after = await engine.state();
      expect(after.weights.subarray(from, to)).toEqual(before.weights.subarray(from, to));
      expect(after.weights.subarray(0, from)).not.toEqual(before.weights.subarray(0, from));
      expect(after.weights.subarray(to)).not.toEqual(before.weights.subarray(to));
      // Of the vectors that make up the optimizer, those that only a merge moves.
      for (const vector of mode === "sync" ? [0, 1] : [2]) {
        const part = ({ optimizer }: ReplicaState) => optimizer.subarray(vector * length + from, vector * length + to);
        expect(part(after)).toEqual(part(before));
      }
    }
  });

  it("owes what it rounded away to the same stage of the same run only, whatever is loaded or opened in between", async () => {
    const run = (name: string) => runIdSchema.parse(name);
    const merge = { kind: "dense", bits: 2 } as const;
    const settings = { ...training, compression: { ...noCompression, merge } };
    const engine = createEngine(async () => createReferenceDevice());
    const open = (runId: RunId) =>
      engine.open({ backend: "reference", threads: 1, model, stage: whole, training: settings, run: runId });
    const { parameters } = await open(run("one"));
    const start = await engine.state();
    const partitions = [{ from: 0, length: parameters }];
    await train(engine, "a");
    await engine.step();
    const { slices, tokens } = await engine.contribution({ partitions });
    await engine.beginMerge();
    for (const payload of slices) await engine.mergeSlice({ from: 0, length: parameters, payload });
    await engine.applyMerged({ tokens, counted: true });
    const owed = await engine.residual();
    expect(owed).not.toBeNull();
    // An attempt that fails after this replica has contributed.
    await train(engine, "b");
    await engine.step();
    await engine.contribution({ partitions });
    expect(await engine.residual()).not.toEqual(owed);
    await open(run("one"));
    await engine.load(start);
    expect(await engine.residual()).toEqual(owed);
    await open(run("another"));
    expect(await engine.residual()).toBeNull();
  });

  it("is the same to the last bit in one slice, in many, and begun twice", async () => {
    for (const mode of ["sync", "local-steps"] as const) {
      const replicas = [await openEngine(whole, { mode }), await openEngine(whole, { mode })] as const;
      for (const replica of replicas) {
        await train(replica, "a");
        if (mode === "local-steps") await replica.step();
      }
      const { values, tokens } = await wholeContribution(replicas[0]);
      await mergeContributions(replicas[0], mode, [{ values, tokens }]);
      const averaged = averageSlices([{ values, tokens }], mode).values ?? values;
      await replicas[1].beginMerge();
      await replicas[1].mergeSlice(sliceFrom(10, averaged.subarray(0, 20)));
      await replicas[1].beginMerge();
      for (let from = 0; from < averaged.length; from += 77)
        await replicas[1].mergeSlice(sliceFrom(from, averaged.subarray(from, from + 77)));
      await replicas[1].applyMerged({ tokens, counted: true });
      expect(await replicas[1].state()).toEqual(await replicas[0].state());
      expect(await replicas[1].weightsHash()).toBe(hashBytes(bytesOf((await replicas[0].state()).weights)));
    }
  });

  it("in sync mode over stages and replicas equals one process that trains on the same microbatches", async () => {
    const alone = await openEngine(whole, { mode: "sync" });
    const specs = cutIntoStages(model, 3);
    const pipelines: ComputeEngine[][] = [];
    for (let replica = 0; replica < 2; replica++) {
      const stages: ComputeEngine[] = [];
      for (const spec of specs) stages.push(await openEngine(spec, { mode: "sync" }));
      pipelines.push(stages);
    }
    for (let epoch = 0; epoch < 4; epoch++) {
      const names = ["a", "b", "c"].map((name) => `${name}${epoch}`);
      const expected = await train(alone, ...names);
      await mergeContributions(alone, "sync", [await wholeContribution(alone)]);
      let loss = 0;
      // Microbatches change pipelines between stages, as they do in a swarm.
      for (const [index, name] of names.entries()) {
        const path = specs.map((_, stage) => pipelines[(index + stage) % 2]?.[stage] as ComputeEngine);
        loss += await pipe(path, name);
      }
      expect(Math.abs(loss - expected) / expected).toBeLessThan(1e-6);
      for (const stage of specs.keys()) {
        const replicas = pipelines.map((pipeline) => pipeline[stage] as ComputeEngine);
        const contributions: WholeContribution[] = [];
        for (const replica of replicas) contributions.push(await wholeContribution(replica));
        for (const replica of replicas) await mergeContributions(replica, "sync", contributions);
      }
    }
    const { weights } = await alone.state();
    const tensors = stageLayout(model, whole).tensors;
    for (const [stage, spec] of specs.entries()) {
      const replica = pipelines[1]?.[stage] as ComputeEngine;
      const own = (await replica.state()).weights;
      for (const { name, offset, length } of stageLayout(model, spec).tensors) {
        const from = tensors.find((tensor) => tensor.name === name)?.offset ?? Number.NaN;
        const gap = difference(own.subarray(offset, offset + length), weights.subarray(from, from + length));
        expect(gap, name).toBeLessThan(1e-5);
      }
    }
  });
});
