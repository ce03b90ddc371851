/** A replica that joins with rounded moments, or by the merges that it missed, next to one that was there all the time. */
import { describe, expect, it } from "vitest";
import { smallModel as model, randomTokens } from "../../test/compute/small-model.ts";
import { partitionRanges } from "../protocol/partitions.ts";
import { mergeCodecs, noCompression } from "../protocol/run-config.ts";
import { createNativeDevice } from "./backends/native/device.ts";
import { MalformedPayloadError } from "./codec/malformed.ts";
import { type ComputeEngine, createEngine } from "./engine.ts";
import type { TrainingConfig } from "./model/config.ts";
import { presets } from "./model/presets.ts";
import { parameterCount, wholeModel } from "./model/stages.ts";

const sequenceLength = 8;
const sequences = 8;
const parameters = parameterCount(model);
const merge = mergeCodecs.dense2;
const ranges = partitionRanges(2, parameters, merge);

async function openEngine(settings: Partial<TrainingConfig> = {}): Promise<ComputeEngine> {
  const engine = createEngine(async () => createNativeDevice({ threads: 1 }));
  const training: TrainingConfig = {
    ...presets.tiny.training,
    mode: "local-steps",
    sequenceLength,
    sequencesPerMicrobatch: sequences,
    learningRate: 3e-3,
    warmupSteps: 0,
    outerLearningRate: 1,
    outerMomentum: 0,
    compression: { ...noCompression, merge },
    ...settings,
  };
  await engine.open({ backend: "native", threads: 1, model, stage: wholeModel(model), training });
  return engine;
}

/** Each token follows from the one before it, so that there is something to learn. */
function sample(name: string) {
  const tokens = randomTokens(model, sequences * sequenceLength, name);
  return { sequences, tokens, targets: tokens.map((token) => (5 * token + 3) % model.vocabulary) };
}

/** The mean loss of the steps, per token. */
async function train(engine: ComputeEngine, from: number, to: number): Promise<number> {
  let lossSumNats = 0;
  for (let step = from; step < to; step++) {
    const microbatch = `step ${step}`;
    lossSumNats += (await engine.forwardBackward({ microbatch, ...sample(microbatch), send: null })).lossSumNats;
    await engine.step();
  }
  return lossSumNats / ((to - from) * sequences * sequenceLength);
}

async function heldOut(engine: ComputeEngine): Promise<number> {
  const { lossSumNats } = await engine.evaluate(sample("held out"));
  return lossSumNats / (sequences * sequenceLength);
}

async function moments(engine: ComputeEngine): Promise<Uint8Array> {
  const payload = await engine.moments();
  if (payload === null) throw new Error("no moments");
  return payload;
}

async function joined(from: ComputeEngine, settings: Partial<TrainingConfig> = {}): Promise<ComputeEngine> {
  const engine = await openEngine(settings);
  await engine.load({ weights: (await from.state()).weights, moments: await moments(from) });
  return engine;
}

/** The merged slices of what these replicas trained. */
async function averaged(replicas: readonly ComputeEngine[]): Promise<readonly (Uint8Array | null)[]> {
  const contributions: { tokens: number; slices: readonly Uint8Array[] }[] = [];
  for (const replica of replicas) contributions.push(await replica.contribution({ partitions: ranges }));
  const [owner] = replicas;
  const payloads: (Uint8Array | null)[] = [];
  for (const [index, range] of ranges.entries()) {
    const ofRange = contributions.map(({ tokens, slices }) => ({ tokens, payload: slices[index] ?? null }));
    payloads.push((await owner?.average({ ...range, contributions: ofRange, own: 0 }))?.payload ?? null);
  }
  return payloads;
}

async function apply(engine: ComputeEngine, slices: readonly (Uint8Array | null)[], counted: boolean): Promise<void> {
  await engine.beginMerge();
  for (const [index, payload] of slices.entries()) {
    const range = ranges[index];
    if (range !== undefined && payload !== null) await engine.mergeSlice({ ...range, payload });
  }
  await engine.applyMerged({ tokens: 1, counted });
}

describe("a replica that joins with rounded moments", () => {
  it.each([
    { when: "while the loss falls", steps: 20 },
    { when: "later on", steps: 120 },
  ])("trains on as one with exact ones: $when", async ({ steps }) => {
    const exact = await openEngine();
    await train(exact, 0, steps);
    const compact = await joined(exact);
    expect(await compact.weightsHash()).toBe(await exact.weightsHash());
    const after = steps + 30;
    const losses = [await train(exact, steps, after), await train(compact, steps, after)] as const;
    expect(Math.abs(losses[1] / losses[0] - 1)).toBeLessThan(0.002);
    expect(Math.abs((await heldOut(compact)) / (await heldOut(exact)) - 1)).toBeLessThan(0.002);
  });

  it("would not without any, which shows that they matter", async () => {
    const exact = await openEngine();
    await train(exact, 0, 20);
    const bare = await openEngine();
    const { weights, optimizer } = await exact.state();
    await bare.load({ weights, optimizer: optimizer.map(() => 0) });
    const losses = [await train(exact, 20, 50), await train(bare, 20, 50)] as const;
    expect(Math.abs(losses[1] / losses[0] - 1)).toBeGreaterThan(0.002);
  });

  it("comes to the same weights in the next merges, with an outer momentum too", async () => {
    const settings = { outerMomentum: 0.6, outerLearningRate: 0.7 };
    const [first, second] = [await openEngine(settings), await openEngine(settings)];
    await train(first, 0, 5);
    const merged = await averaged([first]);
    for (const replica of [first, second]) await apply(replica, merged, false);
    const third = await joined(first, settings);
    await train(first, 5, 8);
    await train(third, 8, 11);
    const next = await averaged([first, third]);
    for (const replica of [first, second, third]) await apply(replica, next, true);
    const hash = await first.weightsHash();
    expect([await second.weightsHash(), await third.weightsHash()]).toEqual([hash, hash]);
  });

  it("refuses what is none, and another run's", async () => {
    const engine = await openEngine();
    const { weights } = await engine.state();
    await expect(engine.load({ weights, moments: new Uint8Array(100) })).rejects.toThrow(MalformedPayloadError);
    const other = await openEngine({ outerMomentum: 0.6 });
    await expect(engine.load({ weights, moments: await moments(other) })).rejects.toThrow(MalformedPayloadError);
  });

  it("does not exist in sync mode, where all have the same to the last bit", async () => {
    expect(await (await openEngine({ mode: "sync" })).moments()).toBeNull();
  });
});

describe("a replica that missed merges", () => {
  it("comes to the same weights by their slices, from earlier weights or in the midst of its own epoch", async () => {
    const [first, second, late] = [await openEngine(), await openEngine(), await openEngine()];
    const start = await first.epochStart();
    const missed: (readonly (Uint8Array | null)[])[] = [];
    for (const epoch of [0, 1]) {
      await train(first, 10 * epoch, 10 * epoch + 5);
      await train(second, 10 * epoch + 5, 10 * epoch + 10);
      const merged = await averaged([first, second]);
      for (const replica of [first, second]) await apply(replica, merged, true);
      missed.push(merged);
    }
    const back = await openEngine();
    await back.load({ weights: start, moments: await moments(first) });
    await train(late, 30, 33);
    expect(await late.epochStart()).toEqual(start);
    for (const merged of missed) for (const replica of [back, late]) await apply(replica, merged, false);
    const hash = await first.weightsHash();
    expect([await second.weightsHash(), await back.weightsHash(), await late.weightsHash()]).toEqual([
      hash,
      hash,
      hash,
    ]);
  });
});
