import { describe, expect, it } from "vitest";
import {
  mergeContributions,
  sliceFrom,
  type WholeContribution,
  wholeContribution,
} from "../../test/compute/merge-contributions.ts";
import { model, openEngine, pipe, train, training, whole } from "../../test/compute/small-engine.ts";
import { difference } from "../../test/compute/small-model.ts";
import { bytesOf, hashBytes } from "../protocol/identity.ts";
import { type RunId, runIdSchema } from "../protocol/ids.ts";
import { noCompression } from "../protocol/run-config.ts";
import { createReferenceDevice } from "./backends/reference/device.ts";
import { type ComputeEngine, createEngine } from "./engine.ts";
import { averageSlices } from "./merge/average-slices.ts";
import { stageLayout } from "./model/layout.ts";
import { cutIntoStages } from "./model/stages.ts";
import type { ReplicaState } from "./worker-protocol.ts";

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
