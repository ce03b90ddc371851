import { describe, expect, it } from "vitest";
import { mergeContributions, wholeContribution } from "../../test/compute/merge-contributions.ts";
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

async function meanWeights(engines: readonly ComputeEngine[]): Promise<Float32Array<ArrayBuffer>> {
  const all = await Promise.all(engines.map(weightsOf));
  return Float32Array.from(
    all[0] ?? [],
    (_, index) => all.reduce((sum, one) => sum + (one[index] ?? 0), 0) / all.length,
  );
}

/** The most that any weight differs between two replicas. */
async function furthestApart(engines: readonly ComputeEngine[]): Promise<number> {
  const [first, ...rest] = await Promise.all(engines.map(weightsOf));
  if (first === undefined) throw new Error("no replica");
  return Math.max(
    ...rest.map((other) => first.reduce((most, weight, at) => Math.max(most, Math.abs(weight - (other[at] ?? 0))), 0)),
  );
}

/** Each takes its own step; then, one step later with a lag, all average. */
class Stage {
  readonly #engines: readonly ComputeEngine[];
  readonly #lag: Exchange["lag"];
  /** The replicas' mean before they averaged last. */
  before = new Float32Array(0);
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
    this.before = await meanWeights(this.#engines);
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
      const contributions = await Promise.all(merging.map(wholeContribution));
      for (const engine of merging) await mergeContributions(engine, "local-steps", contributions);
    }
    const [one, other] = await Promise.all(exchanging.map(weightsOf));
    const [merged] = await Promise.all(merging.map(weightsOf));
    if (!one || !other || !merged) throw new Error("weights");
    expect(difference(one, other)).toBeLessThan(1e-6);
    expect(difference(one, merged)).toBeLessThan(1e-6);
  });

  it.each([
    { kind: "f32" },
    { kind: "dense", bits: 2 },
    { kind: "dense", bits: 1 },
    { kind: "top-k", share: 0.05 },
  ] as const)(
    "are in the mean where they would be without rounding, and never far apart: $kind $bits",
    async (codec) => {
      const engines = await replicas(3, { codec, lag: 0 });
      const stage = new Stage(engines, 0);
      for (let step = 0; step < 3; step++) {
        await stage.step();
        expect(difference(await meanWeights(engines), stage.before)).toBeLessThan(1e-6);
        // AdamW moves no weight by much more than its learning rate, and little is left over of a few steps.
        expect(await furthestApart(engines)).toBeLessThan(codec.kind === "f32" ? 1e-6 : 0.1);
      }
    },
  );

  it("are apart by no more than their last step where they go on meanwhile, and meet when it is averaged", async () => {
    const engines = await replicas(2, { codec: { kind: "f32" }, lag: 1 });
    const stage = new Stage(engines, 1);
    for (let step = 0; step < 4; step++) {
      await stage.step();
      const apart = await furthestApart(engines);
      expect(apart).toBeGreaterThan(1e-4);
      expect(apart).toBeLessThan(0.05);
    }
    await stage.average();
    expect(await furthestApart(engines)).toBeLessThan(1e-6);
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
    expect(await furthestApart([busy, idle])).toBeLessThan(1e-6);
  });
});
