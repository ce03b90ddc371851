import { describe, expect, it } from "vitest";
import { RandomValues } from "../../../test/contract/kernels-calls.ts";
import { relativeDistance } from "../../../test/contract/kernels-formulas.ts";
import { createNativeDevice } from "../backends/native/device.ts";
import { createReferenceDevice } from "../backends/reference/device.ts";
import { type Device, slice } from "../kernels.ts";
import { adamOptions } from "./adam.ts";
import type { StageSpec, TrainingConfig } from "./config.ts";
import { presets } from "./presets.ts";

const length = 40;
const steps = 6;
const start = new RandomValues(1).reals(length);
const gradients = Array.from({ length: steps }, (_, step) => new RandomValues(2 + step).reals(length));
const middle: StageSpec = { index: 1, count: 4, fromLayer: 1, toLayer: 2 };
const settings = (optimizer: TrainingConfig["optimizer"]): TrainingConfig => ({
  ...presets.tiny.training,
  optimizer,
  learningRate: 0.05,
  warmupSteps: 3,
  weightDecay: 0.2,
});
const rates = [0.05 / 3, 0.1 / 3, 0.05, 0.05, 0.05, 0.05];

async function onDevice(device: Device, optimizer: TrainingConfig["optimizer"]): Promise<Float64Array> {
  const vector = () => slice(device.allocate(length));
  const [parameters, gradient, firstMoment, secondMoment] = [vector(), vector(), vector(), vector()];
  device.upload(parameters, Float32Array.from(start));
  for (const [index, values] of gradients.entries()) {
    device.upload(gradient, Float32Array.from(values));
    const options = { ...adamOptions(settings(optimizer), middle, index + 1), gradientScale: 1 };
    device.kernels.adam(parameters, gradient, firstMoment, secondMoment, options);
  }
  const result = await device.downloadDouble(parameters);
  device.close();
  return result;
}

/** One weight at a time, with corrected moments as the papers write them. */
function byFormula(update: (mean: number, gradient: number, step: number) => number, beta1: number): Float64Array {
  const { beta2, epsilon } = settings("adamw");
  return start.map((weight, i) => {
    let [now, mean, square] = [weight, 0, 0];
    for (const [index, rate] of rates.entries()) {
      const gradient = gradients[index]?.[i] ?? Number.NaN;
      mean = beta1 * mean + (1 - beta1) * gradient;
      square = beta2 * square + (1 - beta2) * gradient ** 2;
      const root = Math.sqrt(square / (1 - beta2 ** (index + 1)));
      now -= rate * (update(mean, gradient, index + 1) / (root + epsilon) + 0.2 * now);
    }
    return now;
  });
}

const expected = {
  adamw: () => byFormula((mean, _, step) => mean / (1 - 0.9 ** step), 0.9),
  nadam: () => {
    // 0.9 + 0.09 · (4 − 1 − 1) / 4
    const beta1 = 0.945;
    const nesterov = (mean: number, gradient: number, step: number) =>
      (beta1 * mean) / (1 - beta1 ** (step + 1)) + ((1 - beta1) * gradient) / (1 - beta1 ** step);
    return byFormula(nesterov, beta1);
  },
};

describe.each(["adamw", "nadam"] as const)("%s", (optimizer) => {
  it("follows its paper over several steps", async () => {
    const weights = await onDevice(createReferenceDevice(), optimizer);
    expect(relativeDistance(weights, expected[optimizer]())).toBeLessThan(1e-12);
  });

  it("does so on the native back end, and leaves the same bits twice", async () => {
    const weights = await onDevice(createNativeDevice({ threads: 2 }), optimizer);
    expect(relativeDistance(weights, expected[optimizer]())).toBeLessThan(1e-5);
    expect(await onDevice(createNativeDevice({ threads: 1 }), optimizer)).toEqual(weights);
  });
});

describe("beta1", () => {
  const beta1Of = (optimizer: TrainingConfig["optimizer"]) =>
    Array.from({ length: 3 }, (_, index) => {
      const stage = { index, count: 3, fromLayer: index, toLayer: index + 1 };
      return adamOptions(settings(optimizer), stage, 1).beta1;
    });

  it("grows towards the first stage with NAdam only", () => {
    expect(beta1Of("adamw")).toEqual([0.9, 0.9, 0.9]);
    const [first, second, last] = beta1Of("nadam");
    expect(first).toBeCloseTo(0.96, 15);
    expect(second).toBeCloseTo(0.93, 15);
    expect(last).toBe(0.9);
  });
});
