import { describe, expect, it } from "vitest";
import { readSample, trainingCrops } from "../../../src/compute/data/samples.ts";
import { openDevice } from "../../../src/compute/device.ts";
import { createEngine } from "../../../src/compute/engine.ts";
import { presets } from "../../../src/compute/model/presets.ts";
import { wholeModel } from "../../../src/compute/model/stages.ts";
import { difference, byteModel as model } from "../../compute/small-model.ts";
import { bundledDataset } from "../shared/bundled-dataset.ts";
import { DelayedSteps } from "./delayed-steps.ts";

/** Its gradients are a number: that of the step. */
class FakeEngine {
  readonly steppedOn: number[] = [];
  #step = 0;
  #merged = Number.NaN;

  async contribution() {
    return { slices: [new Uint8Array(new Float32Array([this.#step++]).buffer)], tokens: 1 };
  }

  async beginMerge() {
    this.#merged = Number.NaN;
  }

  async mergeSlice({ payload }: { readonly payload: Uint8Array }) {
    this.#merged = new Float32Array(payload.buffer)[0] ?? Number.NaN;
  }

  async applyMerged() {
    this.steppedOn.push(this.#merged);
  }
}

describe("steps that are late", () => {
  it("are taken on the gradients of so many steps ago, stage by stage, and made up for in the end", async () => {
    const engines = [new FakeEngine(), new FakeEngine(), new FakeEngine()];
    const steps = new DelayedSteps([2, 1, 0], [1, 1, 1]);
    for (let step = 0; step < 4; step++) await steps.take(engines);
    expect(engines.map(({ steppedOn }) => steppedOn)).toEqual([
      [0, 1],
      [0, 1, 2],
      [0, 1, 2, 3],
    ]);
    await steps.finish(engines);
    for (const { steppedOn } of engines) expect(steppedOn).toEqual([0, 1, 2, 3]);
  });

  it("are an engine's own steps when they are late by nothing", async () => {
    const { manifest, shardOf } = await bundledDataset("bytes");
    const training = { ...presets.tiny.training, sequenceLength: 8, stepsPerEpoch: 1 };
    const stage = wholeModel(model);
    const weightsAfter = async (mode: "sync" | "local-steps") => {
      const engine = createEngine(openDevice);
      const { parameters } = await engine.open({
        ...{ backend: "reference", threads: 1, model, stage, training: { ...training, mode } },
      });
      const steps = new DelayedSteps([0], [parameters]);
      for (let step = 0; step < 3; step++) {
        const crops = trainingCrops(manifest, training, { epoch: step, index: 0 });
        const sample = readSample(crops, training.sequenceLength, shardOf);
        await engine.forwardBackward({ microbatch: `${step}`, ...sample, send: null });
        if (mode === "sync") await steps.take([engine]);
        else await engine.step();
      }
      return (await engine.state()).weights;
    };
    expect(difference(await weightsAfter("sync"), await weightsAfter("local-steps"))).toBeLessThan(1e-6);
  });
});
