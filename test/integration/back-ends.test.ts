/** Every back end computes the same model: what f32 rounds is all that may differ from the float64 reference. */
import { describe, expect, it } from "vitest";
import { nativeInstructionSets } from "../../src/compute/backends/native/device.ts";
import { openDevice } from "../../src/compute/device.ts";
import { createEngine } from "../../src/compute/engine.ts";
import { DeviceUnavailableError } from "../../src/compute/kernels.ts";
import { stageLayout } from "../../src/compute/model/layout.ts";
import { presets } from "../../src/compute/model/presets.ts";
import { wholeModel } from "../../src/compute/model/stages.ts";
import type { OpenOptions } from "../../src/compute/worker-protocol.ts";
import { difference, randomTokens, smallModel } from "../compute/small-model.ts";
import { describeWithWebGpu } from "../compute/webgpu-adapter.ts";

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

async function train(backend: OpenOptions["backend"], threads: number, precision: OpenOptions["precision"] = "f32") {
  const engine = createEngine(openDevice);
  await engine.open({ backend, threads, precision, model, stage, training });
  const { lossSumNats } = await engine.forwardBackward(sample);
  const contribution = await engine.contribution();
  await engine.merge({ contributions: [contribution] });
  const { weights } = await engine.state();
  const { tokens } = await engine.generate({ prompt: sample.tokens.slice(0, 9), count: 20, temperature: 0, seed: 1 });
  engine.close();
  return { lossSumNats, gradients: contribution.values, weights, generated: [...tokens] };
}

async function expectAgreement(backend: OpenOptions["backend"], threads: number) {
  const [found, reference] = [await train(backend, threads), await train("reference", 1)];
  expect(Math.abs(found.lossSumNats - reference.lossSumNats) / reference.lossSumNats).toBeLessThan(1e-6);
  for (const { name, offset, length } of stageLayout(model, stage).tensors) {
    const tensor = (values: Float32Array) => values.subarray(offset, offset + length);
    expect(difference(tensor(found.gradients), tensor(reference.gradients)), name).toBeLessThan(1e-5);
  }
  expect(difference(found.weights, reference.weights)).toBeLessThan(1e-5);
  expect(found.generated).toEqual(reference.generated);
}

describe("the native back end", () => {
  it.each([1, 2])("with %i threads agrees with the reference on loss, gradients, step and text", (threads) =>
    expectAgreement("native", threads),
  );

  it("gives the same bits again, whatever the number of threads", async () => {
    const once = await train("native", 1);
    expect(await train("native", 1)).toEqual(once);
    expect(await train("native", 2)).toEqual(once);
  });
});

describe("the native back end in bf16", () => {
  it.skipIf(nativeInstructionSets("bf16").length === 0)("has the reference's loss and gradients, to bf16", async () => {
    const [found, reference] = [await train("native", 2, "bf16"), await train("reference", 1)];
    expect(Math.abs(found.lossSumNats / reference.lossSumNats - 1)).toBeLessThan(1e-3);
    expect(difference(found.gradients, reference.gradients)).toBeLessThan(2e-2);
    expect(difference(found.gradients, reference.gradients), "it did not compute in f32").toBeGreaterThan(1e-4);
  });

  it.skipIf(nativeInstructionSets("bf16").length === 0)("learns as in f32", async () => {
    const [rounded, exact] = [await losses("native", "bf16"), await losses("native")];
    for (const [step, loss] of rounded.entries())
      expect(Math.abs(loss / (exact[step] ?? 0) - 1), `step ${step}`).toBeLessThan(0.005);
  });

  it("is refused by a back end that has none", () =>
    expect(openDevice({ backend: "reference", threads: 1, precision: "bf16" })).rejects.toThrow(
      DeviceUnavailableError,
    ));
});

describe("the WebGPU back end", () => {
  describeWithWebGpu(() => {
    it("agrees with the reference on loss, gradients, step and text", () => expectAgreement("webgpu", 1));

    it("gives the same bits again", async () => {
      expect(await train("webgpu", 1)).toEqual(await train("webgpu", 1));
    });

    it("learns as the processor does", async () => {
      const [gpu, processor] = [await losses("webgpu"), await losses("native")];
      expect(processor.at(-1)).toBeLessThan(0.8 * (processor[0] ?? 0));
      for (const [step, loss] of gpu.entries())
        expect(Math.abs(loss / (processor[step] ?? 0) - 1), `step ${step}`).toBeLessThan(0.005);
    });
  });
});

/** Of 25 local steps of the tiny model on one microbatch, in nats per token; with an outer step on the way. */
async function losses(
  backend: OpenOptions["backend"],
  precision: OpenOptions["precision"] = "f32",
): Promise<readonly number[]> {
  const { model, training } = presets.tiny;
  const engine = createEngine(openDevice);
  await engine.open({ backend, threads: 1, precision, model, training, stage: wholeModel(model) });
  const sequences = training.sequencesPerMicrobatch;
  const tokens = randomTokens(model, sequences * training.sequenceLength, "tokens");
  const targets = randomTokens(model, tokens.length, "targets");
  const found: number[] = [];
  for (let step = 0; step < 25; step++) {
    const { lossSumNats } = await engine.forwardBackward({ microbatch: `${step}`, sequences, tokens, targets });
    found.push(lossSumNats / tokens.length);
    await engine.step();
    if (step === 12) await engine.merge({ contributions: [await engine.contribution()] });
  }
  engine.close();
  return found;
}
