import { describe, expect, it } from "vitest";
import { randomTokens, randomWeights, smallModel } from "../../test/compute/small-model.ts";
import { createReferenceDevice } from "./backends/reference/device.ts";
import { generateTokens } from "./generate.ts";
import { slice } from "./kernels.ts";
import type { ModelConfig } from "./model/config.ts";
import { headLogits } from "./model/head.ts";
import { createMemory } from "./model/memory.ts";
import { createStage, embeddingOf, headOf, passOf, stageForward } from "./model/stage.ts";
import { allocateActivations } from "./model/stage-memory.ts";
import { wholeModel } from "./model/stages.ts";

const window = 12;

function openModel(model: ModelConfig = smallModel) {
  const device = createReferenceDevice();
  const size = { maximumTokens: window, recompute: false };
  const stage = createStage(device.kernels, createMemory(device), model, wholeModel(model), size);
  device.upload(stage.parameters, randomWeights(model, stage.layout));
  const kept = allocateActivations(stage);
  /** The likeliest token after `context`, all of it read in anew. */
  const likeliest = async (context: readonly number[]): Promise<number> => {
    const shape = { sequences: 1, queries: context.length, keys: context.length };
    const pass = passOf(stage, allocateActivations(stage), shape);
    device.uploadIndices(embeddingOf(pass).tokens, Int32Array.from(context));
    stageForward(stage, pass);
    const logits = headLogits(stage.kernels, model, headOf(pass), pass.output);
    const last = await device.download(slice(logits.buffer, (context.length - 1) * model.vocabulary, model.vocabulary));
    return last.indexOf(Math.max(...last));
  };
  return { device, stage, kept, likeliest };
}

describe("generation", () => {
  const prompt = randomTokens(smallModel, 4, "prompt");

  it.each([
    ["", smallModel],
    [", through a bottleneck", { ...smallModel, bottleneck: { rank: 10, hidden: 20, beforeLayers: [1] } }],
  ])("with a cache writes what it writes without, also past the window%s", async (_, model) => {
    const { device, stage, kept, likeliest } = openModel(model);
    const options = { prompt, count: 30, temperature: 0, seed: 1, window };
    const cached = await generateTokens(device, stage, kept, options);
    const expected: number[] = [];
    let context = [...prompt];
    while (expected.length < options.count) {
      const token = await likeliest(context);
      expected.push(token);
      context.push(token);
      if (context.length > window) context = context.slice(-window / 2);
    }
    expect([...cached]).toEqual(expected);
    expect(new Set(cached).size).toBeGreaterThan(2);
  });

  it("uses the end of a prompt that is longer than the window", async () => {
    const { device, stage, kept } = openModel();
    const long = randomTokens(smallModel, 40, "long prompt");
    const options = { count: 5, temperature: 0, seed: 1, window };
    const whole = await generateTokens(device, stage, kept, { ...options, prompt: long });
    const end = await generateTokens(device, stage, kept, { ...options, prompt: long.slice(-window) });
    expect(whole).toEqual(end);
  });

  it("draws the same text from the same seed, and other text from another", async () => {
    const { device, stage, kept } = openModel();
    const text = async (seed: number) => [
      ...(await generateTokens(device, stage, kept, { prompt, count: 20, temperature: 1, seed, window })),
    ];
    expect(await text(1)).toEqual(await text(1));
    expect(await text(2)).not.toEqual(await text(1));
  });

  it("writes in pieces what it writes at once, within the window", async () => {
    const { device, stage, kept } = openModel();
    const options = { temperature: 1, seed: 3, window };
    const whole = await generateTokens(device, stage, kept, { ...options, prompt, count: 8 });
    const begin = await generateTokens(device, stage, kept, { ...options, prompt, count: 3 });
    const rest = { prompt: Int32Array.of(...prompt, ...begin), count: 5, firstDraw: 3 };
    expect([...begin, ...(await generateTokens(device, stage, kept, { ...options, ...rest }))]).toEqual([...whole]);
  });
});
