/** Every back end computes the same model: what f32 rounds is all that may differ from the float64 reference. */
import { describe, expect, it } from "vitest";
import { openDevice } from "../../src/compute/device.ts";
import { createEngine } from "../../src/compute/engine.ts";
import { stageLayout } from "../../src/compute/model/layout.ts";
import { presets } from "../../src/compute/model/presets.ts";
import { wholeModel } from "../../src/compute/model/stages.ts";
import { difference, randomTokens, smallModel } from "../compute/small-model.ts";

// Sizes that are not multiples of any vector's width, and heads that share keys and values.
const model = { ...smallModel, vocabulary: 131, width: 72, heads: 6, keyValueHeads: 2, feedForward: 101, context: 45 };
const training = { ...presets.tiny.training, mode: "sync", sequenceLength: 45, sequencesPerMicrobatch: 3 } as const;
const stage = wholeModel(model);
const count = training.sequenceLength * training.sequencesPerMicrobatch;
const sample = {
  microbatch: "a",
  sequences: training.sequencesPerMicrobatch,
  tokens: randomTokens(model, count, "tokens"),
  targets: randomTokens(model, count, "targets"),
};

async function train(backend: "native" | "reference", threads: number) {
  const engine = createEngine(openDevice);
  await engine.open({ backend, threads, model, stage, training });
  const { lossSumNats } = await engine.forwardBackward(sample);
  const contribution = await engine.contribution();
  await engine.merge({ contributions: [contribution] });
  const { weights } = await engine.state();
  const { tokens } = await engine.generate({ prompt: sample.tokens.slice(0, 9), count: 20, temperature: 0, seed: 1 });
  engine.close();
  return { lossSumNats, gradients: contribution.values, weights, generated: [...tokens] };
}

describe("the native back end", () => {
  it.each([1, 2])("with %i threads agrees with the reference on loss, gradients, step and text", async (threads) => {
    const [native, reference] = [await train("native", threads), await train("reference", 1)];
    expect(Math.abs(native.lossSumNats - reference.lossSumNats) / reference.lossSumNats).toBeLessThan(1e-6);
    for (const { name, offset, length } of stageLayout(model, stage).tensors) {
      const tensor = (values: Float32Array) => values.subarray(offset, offset + length);
      expect(difference(tensor(native.gradients), tensor(reference.gradients)), name).toBeLessThan(1e-5);
    }
    expect(difference(native.weights, reference.weights)).toBeLessThan(1e-5);
    expect(native.generated).toEqual(reference.generated);
  });

  it("gives the same bits again, whatever the number of threads", async () => {
    const once = await train("native", 1);
    expect(await train("native", 1)).toEqual(once);
    expect(await train("native", 2)).toEqual(once);
  });
});
