import { describe, expect, it } from "vitest";
import { mergeContributions, wholeContribution } from "../../test/compute/merge-contributions.ts";
import { smallModel as model, randomTokens } from "../../test/compute/small-model.ts";
import { createReferenceDevice } from "./backends/reference/device.ts";
import { type ComputeEngine, createEngine } from "./engine.ts";
import type { TrainingConfig } from "./model/config.ts";
import { presets } from "./model/presets.ts";
import { parameterCount, wholeModel } from "./model/stages.ts";

const sequenceLength = 8;
const sequences = 2;

async function openEngine(settings: Partial<TrainingConfig>): Promise<ComputeEngine> {
  const engine = createEngine(async () => createReferenceDevice());
  const training = { ...presets.tiny.training, sequenceLength, sequencesPerMicrobatch: sequences, ...settings };
  await engine.open({ backend: "reference", threads: 1, model, stage: wholeModel(model), training });
  return engine;
}

async function train(engine: ComputeEngine): Promise<number> {
  const [tokens, targets] = ["tokens", "targets"].map((name) => randomTokens(model, sequences * sequenceLength, name));
  if (!tokens || !targets) throw new Error("two arrays");
  return (await engine.forwardBackward({ microbatch: "the one", sequences, tokens, targets, send: null })).lossSumNats;
}

describe("a replica's optimizer", () => {
  const schedules: readonly TrainingConfig["schedule"][] = [
    { kind: "constant" },
    { kind: "cosine", decaySteps: 15, floor: 0.1 },
    { kind: "wsd", stableSteps: 8, decaySteps: 7, floor: 0 },
  ];
  const choices = schedules.flatMap((schedule) => [
    { name: `AdamW, ${schedule.kind}`, optimizer: "adamw", schedule } as const,
    { name: `NAdam, ${schedule.kind}`, optimizer: "nadam", schedule } as const,
  ]);

  it.each(choices)("lowers the loss: $name", async ({ optimizer, schedule }) => {
    const engine = await openEngine({ optimizer, schedule, learningRate: 0.01, clipGradientNorm: 1 });
    const first = await train(engine);
    for (let step = 0; step < 20; step++) {
      await engine.step();
      await train(engine);
    }
    expect(await train(engine)).toBeLessThan(0.6 * first);
  });

  it("leaves the weights alone once a schedule has come down to zero", async () => {
    const engine = await openEngine({
      schedule: { kind: "wsd", stableSteps: 0, decaySteps: 1, floor: 0 },
      warmupSteps: 1,
    });
    const weights: Float32Array[] = [(await engine.state()).weights];
    for (let step = 0; step < 2; step++) {
      await train(engine);
      await engine.step();
      weights.push((await engine.state()).weights);
    }
    expect(weights[1]).not.toEqual(weights[0]);
    expect(weights[2]).toEqual(weights[1]);
  });
});

describe("clipping", () => {
  const { beta1 } = presets.tiny.training;
  /** Takes the first step and returns the reported norm, and that of the gradient that the first moment has taken in. */
  async function firstStep(settings: Partial<TrainingConfig>) {
    const engine = await openEngine(settings);
    await train(engine);
    const reported = (await engine.step()).gradientNorm;
    const state = await engine.state();
    return { reported, taken: firstMomentNorm(state.optimizer) / (1 - beta1), state };
  }
  const firstMomentNorm = (optimizer: Float32Array) => Math.hypot(...optimizer.subarray(0, parameterCount(model)));

  it("shortens a gradient to the limit, and reports how long it was", async () => {
    const free = await firstStep({});
    expect(free.taken / free.reported).toBeCloseTo(1, 5);
    const limit = free.reported / 3;
    const clipped = await firstStep({ clipGradientNorm: limit });
    expect(clipped.reported).toBe(free.reported);
    expect(clipped.taken / limit).toBeCloseTo(1, 5);
  });

  it("changes no bit of a shorter gradient's step", async () => {
    const free = await firstStep({});
    expect((await firstStep({ clipGradientNorm: 1.001 * free.reported })).state).toEqual(free.state);
  });

  it("in sync mode looks at the mean over all replicas", async () => {
    const limit = 0.01;
    const engine = await openEngine({ mode: "sync", stepsPerEpoch: 1, clipGradientNorm: limit });
    await train(engine);
    const contribution = await wholeContribution(engine);
    await mergeContributions(engine, "sync", [contribution, contribution]);
    const { optimizer } = await engine.state();
    expect(firstMomentNorm(optimizer) / (1 - beta1) / limit).toBeCloseTo(1, 5);
  });

  it("takes a step without a gradient", async () => {
    const engine = await openEngine({ mode: "sync", stepsPerEpoch: 1, clipGradientNorm: 1, weightDecay: 0 });
    const { weights } = await engine.state();
    await mergeContributions(engine, "sync", [{ values: new Float32Array(weights.length), tokens: 1 }]);
    expect((await engine.state()).weights).toEqual(weights);
  });
});
