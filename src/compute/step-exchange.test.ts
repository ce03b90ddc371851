import { describe, expect, it } from "vitest";
import { mergeContributions } from "../../test/compute/merge-contributions.ts";
import { difference, smallModel as model, randomTokens } from "../../test/compute/small-model.ts";
import { noCompression } from "../protocol/run-config.ts";
import { createReferenceDevice } from "./backends/reference/device.ts";
import { type ComputeEngine, createEngine } from "./engine.ts";
import type { TrainingConfig } from "./model/config.ts";
import { presets } from "./model/presets.ts";
import { parameterCount, wholeModel } from "./model/stages.ts";

type Exchange = NonNullable<TrainingConfig["compression"]["exchange"]>;

const sequenceLength = 8;
const sequences = 2;
const tokensPerMicrobatch = sequences * sequenceLength;
/** Merges that are plain averages. */
const plain = { outerLearningRate: 1, outerMomentum: 0 } as const;

async function openEngine(exchange: Exchange | null, settings: Partial<TrainingConfig> = {}): Promise<ComputeEngine> {
  const engine = createEngine(async () => createReferenceDevice());
  const training = {
    ...{ ...presets.tiny.training, ...plain, sequenceLength, sequencesPerMicrobatch: sequences, learningRate: 0.01 },
    ...{ compression: { ...noCompression, exchange }, ...settings },
  };
  await engine.open({ backend: "reference", threads: 1, model, stage: wholeModel(model), training });
  return engine;
}

const replicas = (count: number, exchange: Exchange | null) =>
  Promise.all(Array.from({ length: count }, () => openEngine(exchange)));

async function train(engine: ComputeEngine, name: string): Promise<number> {
  const [tokens, targets] = ["tokens", "targets"].map((part) => randomTokens(model, tokensPerMicrobatch, name + part));
  if (!tokens || !targets) throw new Error("two arrays");
  return (await engine.forwardBackward({ microbatch: name, sequences, tokens, targets, send: null })).lossSumNats;
}

const weightsOf = async (engine: ComputeEngine) => (await engine.state()).weights;

/** Each takes its own step; then, one step later with a lag, all average. */
class Stage {
  readonly #engines: readonly ComputeEngine[];
  readonly #lag: Exchange["lag"];
  #moved: readonly { parts: readonly Uint8Array[]; tokens: number }[] | null = null;
  #steps = 0;

  constructor(engines: readonly ComputeEngine[], lag: Exchange["lag"]) {
    this.#engines = engines;
    this.#lag = lag;
  }

  async step(): Promise<void> {
    for (const [index, engine] of this.#engines.entries()) await train(engine, `${this.#steps} ${index}`);
    if (this.#lag === 1) await this.average();
    const moved = [];
    for (const [index, engine] of this.#engines.entries())
      moved.push(await engine.stepDelta({ seed: 100 * this.#steps + index }));
    this.#moved = moved;
    if (this.#lag === 0) await this.average();
    this.#steps += 1;
  }

  async average(): Promise<void> {
    const moved = this.#moved;
    if (moved === null) return;
    for (const [self, engine] of this.#engines.entries())
      await engine.applyExchange({
        contributions: moved.map(({ parts, tokens }, index) => ({ parts: index === self ? null : parts, tokens })),
      });
    this.#moved = null;
  }
}

describe("replicas that average every step", () => {
  it("come to what a plain merge after every step comes to, when nothing is rounded", async () => {
    const exchanging = await replicas(2, { codec: { kind: "f32" }, lag: 0 });
    const merging = await replicas(2, null);
    const stage = new Stage(exchanging, 0);
    for (let step = 0; step < 4; step++) {
      await stage.step();
      for (const [index, engine] of merging.entries()) {
        await train(engine, `${step} ${index}`);
        await engine.step();
      }
      const contributions = await Promise.all(merging.map((engine) => engine.contribution()));
      for (const engine of merging) await mergeContributions(engine, "local-steps", contributions);
    }
    const [one, other] = await Promise.all(exchanging.map(weightsOf));
    const [merged] = await Promise.all(merging.map(weightsOf));
    if (!one || !other || !merged) throw new Error("weights");
    expect(one).toEqual(other);
    expect(difference(one, merged)).toBeLessThan(1e-6);
  });

  it.each([
    { kind: "f32" },
    { kind: "dense", bits: 2 },
    { kind: "dense", bits: 1 },
    { kind: "top-k", share: 0.05 },
  ] as const)("have the same weights to the bit after each step, in $kind $bits", async (codec) => {
    const engines = await replicas(3, { codec, lag: 0 });
    const stage = new Stage(engines, 0);
    const before = await engines[0]?.weightsHash();
    for (let step = 0; step < 3; step++) {
      await stage.step();
      const hashes = new Set(await Promise.all(engines.map((engine) => engine.weightsHash())));
      expect(hashes.size).toBe(1);
      expect(hashes).not.toContain(before);
    }
  });

  it("are apart by no more than their last step where they go on meanwhile, and meet when it is averaged", async () => {
    const engines = await replicas(2, { codec: { kind: "f32" }, lag: 1 });
    const stage = new Stage(engines, 1);
    for (let step = 0; step < 4; step++) {
      await stage.step();
      const [one, other] = await Promise.all(engines.map(weightsOf));
      if (!one || !other) throw new Error("weights");
      // AdamW moves no weight by much more than its learning rate.
      expect(difference(one, other)).toBeGreaterThan(0);
      expect(Math.max(...one.map((weight, index) => Math.abs(weight - (other[index] ?? 0))))).toBeLessThan(0.05);
    }
    await stage.average();
    const [one, other] = await Promise.all(engines.map(weightsOf));
    expect(one).toEqual(other);
  });

  it.each([0, 1] as const)("lower the loss with a lag of %i, in two bits", async (lag) => {
    const engines = await replicas(2, { codec: { kind: "dense", bits: 2 }, lag });
    const stage = new Stage(engines, lag);
    const [first] = engines;
    if (!first) throw new Error("an engine");
    const before = await train(first, "0 0");
    await first.step();
    for (let step = 0; step < 15; step++) await stage.step();
    expect(await train(first, "0 0")).toBeLessThan(before);
  });

  it("give the merge what was rounded away: nothing is lost", async () => {
    const [rounding, exact] = [
      await replicas(2, { codec: { kind: "dense", bits: 1 }, lag: 0 }),
      await replicas(2, { codec: { kind: "f32" }, lag: 0 }),
    ];
    // With one step, all that both ever moved is in what was decoded or in what is left.
    for (const engines of [rounding, exact]) await new Stage(engines, 0).step();
    const mean = async (engines: readonly ComputeEngine[]) => {
      const [one, other] = await Promise.all(engines.map((engine) => engine.contribution()));
      if (!one || !other) throw new Error("contributions");
      return one.values.map((value, index) => (value + (other.values[index] ?? 0)) / 2);
    };
    expect(difference(await mean(rounding), await mean(exact))).toBeLessThan(1e-5);
    expect(difference(await mean(rounding), await mean(rounding))).toBe(0);
  });

  it("leave out what does not decode, and what is not like the others, and say so", async () => {
    const engines = await replicas(4, { codec: { kind: "f32" }, lag: 0 });
    const moved = [];
    for (const [index, engine] of engines.entries()) {
      await train(engine, `${index}`);
      moved.push(await engine.stepDelta({ seed: index }));
    }
    const [first] = engines;
    const honest = moved.slice(0, 2);
    const huge = new Uint8Array(new Float32Array(parameterCount(model)).fill(1e9).buffer);
    const garbled = moved[2]?.parts.map((part) => part.subarray(1)) ?? [];
    const tokens = tokensPerMicrobatch;
    const contributions = [
      ...honest.map(({ parts }, index) => ({ parts: index === 0 ? null : parts, tokens })),
      { parts: garbled, tokens },
      { parts: [huge], tokens },
      { parts: moved[3]?.parts ?? [], tokens },
    ];
    const before = first && (await weightsOf(first));
    expect(await first?.applyExchange({ contributions })).toEqual({ malformed: [2], outliers: [3] });
    const after = first && (await weightsOf(first));
    if (!before || !after) throw new Error("weights");
    expect(Math.max(...after.map((weight, index) => Math.abs(weight - (before[index] ?? 0))))).toBeLessThan(0.05);
  });

  it("follow the others where they have nothing of their own to say", async () => {
    const [busy, idle] = await replicas(2, { codec: { kind: "f32" }, lag: 1 });
    if (!busy || !idle) throw new Error("two engines");
    await train(busy, "one");
    const { parts, tokens } = await busy.stepDelta({ seed: 1 });
    expect(await idle.stepDelta({ seed: 2 })).toEqual({ tokens: 0, gradientNorm: 0, parts: [] });
    await busy.applyExchange({ contributions: [{ parts: null, tokens }] });
    await idle.applyExchange({ contributions: [{ parts, tokens }] });
    expect(await idle.weightsHash()).toBe(await busy.weightsHash());
  });

  it("leave the weights as they were when a gradient is not finite", async () => {
    const engine = await openEngine({ codec: { kind: "f32" }, lag: 0 });
    const state = await engine.state();
    await engine.load({ ...state, weights: state.weights.map((weight, index) => (index === 0 ? 1e30 : weight)) });
    const before = await engine.weightsHash();
    await train(engine, "one").catch(() => undefined);
    await engine.stepDelta({ seed: 1 }).catch(() => undefined);
    expect(await engine.weightsHash()).toBe(before);
  });
});
