/** Every back end computes the same model: what f32 rounds is all that may differ from the float64 reference. */
import { describe, expect, it } from "vitest";
import { nativeInstructionSets } from "../../src/compute/backends/native/device.ts";
import { findAdapter, type Gpu, openGpu } from "../../src/compute/backends/webgpu/adapter.ts";
import { deviceOn } from "../../src/compute/backends/webgpu/device.ts";
import { type DeviceOptions, openDevice } from "../../src/compute/device.ts";
import { createEngine } from "../../src/compute/engine.ts";
import { DeviceLostError, DeviceUnavailableError } from "../../src/compute/kernels.ts";
import { stageLayout } from "../../src/compute/model/layout.ts";
import { presets } from "../../src/compute/model/presets.ts";
import { wholeModel } from "../../src/compute/model/stages.ts";
import { mergeContributions, wholeContribution } from "../compute/merge-contributions.ts";
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
  send: null,
};

async function train(device: DeviceOptions) {
  const engine = createEngine(openDevice);
  await engine.open({ ...device, model, stage, training });
  const { lossSumNats } = await engine.forwardBackward(sample);
  const contribution = await wholeContribution(engine);
  await mergeContributions(engine, training.mode, [contribution]);
  const { weights } = await engine.state();
  const { tokens } = await engine.generate({ prompt: sample.tokens.slice(0, 9), count: 20, temperature: 0, seed: 1 });
  engine.close();
  return { lossSumNats, gradients: contribution.values, weights, generated: [...tokens] };
}

const reference: DeviceOptions = { backend: "reference", threads: 1 };

async function expectAgreement(device: DeviceOptions) {
  const [found, exact] = [await train(device), await train(reference)];
  expect(Math.abs(found.lossSumNats - exact.lossSumNats) / exact.lossSumNats).toBeLessThan(1e-6);
  for (const { name, offset, length } of stageLayout(model, stage).tensors) {
    const tensor = (values: Float32Array) => values.subarray(offset, offset + length);
    expect(difference(tensor(found.gradients), tensor(exact.gradients)), name).toBeLessThan(1e-5);
  }
  expect(difference(found.weights, exact.weights)).toBeLessThan(1e-5);
  expect(found.generated).toEqual(exact.generated);
}

describe("the native back end", () => {
  it.each([1, 2])("with %i threads agrees with the reference on loss, gradients, step and text", (threads) =>
    expectAgreement({ backend: "native", threads }),
  );

  it("gives the same bits again, whatever the number of threads", async () => {
    const once = await train({ backend: "native", threads: 1 });
    expect(await train({ backend: "native", threads: 1 })).toEqual(once);
    expect(await train({ backend: "native", threads: 2 })).toEqual(once);
  });
});

/** What rounding factors may change. Gradients that do not differ at all were computed in f32. */
async function expectRounded(device: DeviceOptions, tolerance: number) {
  const [found, exact] = [await train(device), await train(reference)];
  expect(Math.abs(found.lossSumNats / exact.lossSumNats - 1)).toBeLessThan(1e-3);
  expect(difference(found.gradients, exact.gradients)).toBeLessThan(tolerance);
  expect(difference(found.gradients, exact.gradients), "it did not compute in f32").toBeGreaterThan(tolerance / 200);
}

async function expectSameLearning(device: DeviceOptions) {
  const [found, exact] = [await losses(device), await losses({ backend: "native", threads: 1 })];
  expect(exact.at(-1)).toBeLessThan(0.8 * (exact[0] ?? 0));
  for (const [step, loss] of found.entries())
    expect(Math.abs(loss / (exact[step] ?? 0) - 1), `step ${step}`).toBeLessThan(0.005);
}

describe("the native back end in bf16", () => {
  const device = { backend: "native", threads: 2, precision: "bf16" } as const;

  it.skipIf(nativeInstructionSets("bf16").length === 0)("has the reference's loss and gradients, to bf16", () =>
    expectRounded(device, 2e-2),
  );

  it.skipIf(nativeInstructionSets("bf16").length === 0)("learns as in f32", () => expectSameLearning(device));

  it("is refused by a back end that has none", () =>
    expect(openDevice({ backend: "reference", threads: 1, precision: "bf16" })).rejects.toThrow(
      DeviceUnavailableError,
    ));
});

describe("the WebGPU back end", () => {
  describeWithWebGpu(({ name: adapter, precisions }) => {
    const device = { backend: "webgpu", threads: 1, adapter } as const;

    it("agrees with the reference on loss, gradients, step and text", () => expectAgreement(device));

    it("gives the same bits again", async () => {
      expect(await train(device)).toEqual(await train(device));
    });

    it("learns as the processor does", () => expectSameLearning(device));

    if (precisions.includes("f16")) {
      it("has the reference's loss and gradients in f16, to f16", () =>
        expectRounded({ ...device, precision: "f16" }, 1e-2));

      it("learns in f16 as the processor does", () => expectSameLearning({ ...device, precision: "f16" }));
    } else
      it("refuses f16, which it does not have", () =>
        expect(openDevice({ ...device, precision: "f16" })).rejects.toThrow(DeviceUnavailableError));

    it("goes on from the last state when the GPU was lost, as if nothing had happened", async () => {
      const gpus: Gpu[] = [];
      const engine = createEngine(async () => {
        const gpu = await openGpu(await findAdapter({ adapter }));
        gpus.push(gpu);
        return deviceOn(gpu);
      });
      const open = () => engine.open({ ...device, model, stage, training: { ...training, mode: "local-steps" } });
      const trainOnce = async () => {
        await engine.forwardBackward(sample);
        await engine.step();
      };
      await open();
      await trainOnce();
      const last = await engine.state();
      await trainOnce();
      const undisturbed = await engine.state();

      gpus[0]?.device.destroy();
      await expect(trainOnce()).rejects.toThrow(DeviceLostError);
      await open();
      await engine.load(last);
      await trainOnce();
      expect(await engine.state()).toEqual(undisturbed);
      expect(gpus).toHaveLength(2);
      engine.close();
    });
  });
});

/** Of 25 local steps of the tiny model on one microbatch, in nats per token; with an outer step on the way. */
async function losses(device: DeviceOptions): Promise<readonly number[]> {
  const { model, training } = presets.tiny;
  const engine = createEngine(openDevice);
  await engine.open({ ...device, model, training, stage: wholeModel(model) });
  const sequences = training.sequencesPerMicrobatch;
  const tokens = randomTokens(model, sequences * training.sequenceLength, "tokens");
  const targets = randomTokens(model, tokens.length, "targets");
  const found: number[] = [];
  for (let step = 0; step < 25; step++) {
    const { lossSumNats } = await engine.forwardBackward({
      microbatch: `${step}`,
      sequences,
      tokens,
      targets,
      send: null,
    });
    found.push(lossSumNats / tokens.length);
    await engine.step();
    if (step === 12) await mergeContributions(engine, "local-steps", [await wholeContribution(engine)]);
  }
  engine.close();
  return found;
}
