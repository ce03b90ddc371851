import { describe, expect, it } from "vitest";
import {
  difference,
  initialVector,
  randomTokens,
  randomWeights,
  smallModel,
} from "../../../test/compute/small-model.ts";
import { createReferenceDevice } from "../backends/reference/device.ts";
import type { StageSpec } from "./config.ts";
import { stageLayout } from "./layout.ts";
import { createMemory } from "./memory.ts";
import { createStage, embeddingOf, headOf, lossForwardBackward, passOf, stageBackward, stageForward } from "./stage.ts";
import { allocateActivations, type StageSize } from "./stage-memory.ts";
import { cutIntoStages, wholeModel } from "./stages.ts";

const model = smallModel;
const shape = { sequences: 2, queries: 7, keys: 7 };
const tokenCount = shape.sequences * shape.queries;
const tokens = randomTokens(model, tokenCount, "tokens");
const targets = randomTokens(model, tokenCount, "targets");
const wholeLayout = stageLayout(model, wholeModel(model));
const wholeWeights = randomWeights(model, wholeLayout);

interface Outcome {
  readonly loss: number;
  /** Gradients by tensor name, over all stages. */
  readonly gradients: ReadonlyMap<string, Float64Array>;
}

/** One microbatch forward and back through a chain of stages in this process, in float64 throughout. */
async function run(
  specs: readonly StageSpec[],
  weights: Float64Array,
  size: Partial<StageSize> = {},
): Promise<Outcome> {
  const device = createReferenceDevice();
  const chain = specs.map((spec) => {
    const whole = { maximumTokens: tokenCount, recompute: false, ...size };
    const stage = createStage(device.kernels, createMemory(device), model, spec, whole);
    const own = stage.layout.tensors.flatMap(({ name }) => [...tensorOf(weights, name)]);
    device.upload(stage.parameters, Float64Array.from(own));
    return { stage, pass: passOf(stage, allocateActivations(stage), shape) };
  });
  let loss = Number.NaN;
  let crossing: Float64Array = new Float64Array();
  for (const { stage, pass } of chain) {
    if (pass.embedding) device.uploadIndices(embeddingOf(pass).tokens, tokens);
    else device.upload(pass.input, crossing);
    stageForward(stage, pass);
    if (!pass.head) {
      crossing = await device.downloadDouble(pass.output);
      continue;
    }
    device.uploadIndices(headOf(pass).targets, targets);
    loss = (await device.downloadDouble(lossForwardBackward(stage, pass))).reduce((a, b) => a + b);
  }
  const gradients = new Map<string, Float64Array>();
  for (const { stage, pass } of chain.toReversed()) {
    if (!pass.head) {
      device.upload(pass.dx, crossing);
      stageBackward(stage, pass);
    }
    crossing = await device.downloadDouble(pass.dx);
    const all = await device.downloadDouble(stage.gradients);
    for (const { name, offset, length } of stage.layout.tensors)
      gradients.set(name, all.subarray(offset, offset + length));
  }
  device.close();
  return { loss, gradients };
}

function tensorOf<T extends Float32Array | Float64Array>(weights: T, name: string): T {
  const tensor = wholeLayout.tensors.find((other) => other.name === name);
  if (!tensor) throw new Error(`no tensor ${name}`);
  return weights.subarray(tensor.offset, tensor.offset + tensor.length) as T;
}

describe("a model's gradients", () => {
  const weights = Float64Array.from(wholeWeights);

  it("equal finite differences of its loss, for every tensor", async () => {
    const { gradients } = await run([wholeModel(model)], weights);
    const direction = randomWeights({ ...model, width: 5 }, wholeLayout);
    const epsilon = 1e-5;
    for (const { name } of wholeLayout.tensors) {
      const along = tensorOf(direction, name);
      const lossAt = async (distance: number) => {
        const moved = weights.slice();
        const tensor = tensorOf(moved, name);
        for (const [i, step] of along.entries()) tensor[i] = (tensor[i] ?? 0) + distance * step;
        return (await run([wholeModel(model)], moved)).loss;
      };
      const measured = ((await lossAt(epsilon)) - (await lossAt(-epsilon))) / (2 * epsilon);
      const derived = (gradients.get(name) ?? new Float64Array()).reduce(
        (sum, value, i) => sum + value * (along[i] ?? 0),
        0,
      );
      expect(Math.abs(derived - measured) / Math.abs(measured), name).toBeLessThan(1e-6);
    }
  });

  it("and its loss are the same to the last bit however it is cut into stages", async () => {
    const whole = await run([wholeModel(model)], weights);
    expect(whole.loss / tokenCount).toBeGreaterThan(1);
    for (let count = 2; count <= model.layers; count++)
      expect(await run(cutIntoStages(model, count), weights)).toEqual(whole);
  });

  it("are those of the microbatch alone when there is room for a larger one", async () => {
    const roomy = await run([wholeModel(model)], weights, { maximumTokens: 3 * tokenCount });
    expect(roomy).toEqual(await run([wholeModel(model)], weights));
  });
});

describe("recomputing activations", () => {
  const weights = Float64Array.from(wholeWeights);

  it.each([1, 2, 3])("changes no bit of a model's gradients in %i stages", async (count) => {
    const specs = cutIntoStages(model, count);
    expect(await run(specs, weights, { recompute: true })).toEqual(await run(specs, weights));
  });
});

describe("initial weights", () => {
  it("are the same tensors however the model is cut, and change with the seed", () => {
    const whole = initialVector(model, wholeLayout, 3);
    for (const spec of cutIntoStages(model, 3)) {
      const layout = stageLayout(model, spec);
      const own = initialVector(model, layout, 3);
      for (const { name, offset, length } of layout.tensors)
        expect(own.subarray(offset, offset + length)).toEqual(tensorOf(whole, name));
    }
    expect(difference(initialVector(model, wholeLayout, 4), whole)).toBeGreaterThan(0.1);
  });
});
