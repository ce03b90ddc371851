import { describe, expect, it } from "vitest";
import {
  difference,
  initialVector,
  randomTokens,
  randomWeights,
  smallModel,
  squeezedModel,
} from "../../../test/compute/small-model.ts";
import { createReferenceDevice } from "../backends/reference/device.ts";
import type { ModelConfig, StageSpec } from "./config.ts";
import { type StageLayout, stageLayout } from "./layout.ts";
import { createMemory } from "./memory.ts";
import { channelsBefore } from "./parts.ts";
import { createStage, embeddingOf, headOf, lossForwardBackward, passOf, stageBackward, stageForward } from "./stage.ts";
import { allocateActivations, type StageSize } from "./stage-memory.ts";
import { cutIntoStages, parameterCount, wholeModel } from "./stages.ts";

const models = [
  ["without bottlenecks", smallModel],
  ["with bottlenecks", squeezedModel],
] as const;
const shape = { sequences: 2, queries: 7, keys: 7 };
const tokenCount = shape.sequences * shape.queries;
const tokens = randomTokens(smallModel, tokenCount, "tokens");
const targets = randomTokens(smallModel, tokenCount, "targets");

interface Outcome {
  readonly loss: number;
  /** Gradients by tensor name, over all stages. */
  readonly gradients: ReadonlyMap<string, Float64Array>;
}

/** One microbatch forward and back through a chain of stages in this process, in float64 throughout. */
async function run(
  model: ModelConfig,
  specs: readonly StageSpec[],
  weights: Float64Array,
  size: Partial<StageSize> = {},
): Promise<Outcome> {
  const device = createReferenceDevice();
  const chain = specs.map((spec) => {
    const whole = { maximumTokens: tokenCount, recompute: false, ...size };
    const stage = createStage(device.kernels, createMemory(device), model, spec, whole);
    const own = stage.layout.tensors.flatMap(({ name }) => [...tensorOf(model, weights, name)]);
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
      device.upload(pass.dOutput, crossing);
      stageBackward(stage, pass);
    }
    crossing = await device.downloadDouble(pass.dInput);
    const all = await device.downloadDouble(stage.gradients);
    for (const { name, offset, length } of stage.layout.tensors)
      gradients.set(name, all.subarray(offset, offset + length));
  }
  device.close();
  return { loss, gradients };
}

function layoutOf(model: ModelConfig): StageLayout {
  return stageLayout(model, wholeModel(model));
}

function weightsOf(model: ModelConfig): Float64Array {
  return Float64Array.from(randomWeights(model, layoutOf(model)));
}

/** Of a whole model's weights. */
function tensorOf<T extends Float32Array | Float64Array>(model: ModelConfig, weights: T, name: string): T {
  const tensor = layoutOf(model).tensors.find((other) => other.name === name);
  if (!tensor) throw new Error(`no tensor ${name}`);
  return weights.subarray(tensor.offset, tensor.offset + tensor.length) as T;
}

describe.each(models)("the gradients of a model %s", (_, model) => {
  const weights = weightsOf(model);

  it("equal finite differences of its loss, for every tensor", async () => {
    const { gradients } = await run(model, [wholeModel(model)], weights);
    const direction = randomWeights({ ...model, width: 5 }, layoutOf(model));
    const epsilon = 1e-5;
    for (const { name } of layoutOf(model).tensors) {
      const along = tensorOf(model, direction, name);
      const lossAt = async (distance: number) => {
        const moved = weights.slice();
        const tensor = tensorOf(model, moved, name);
        for (const [i, step] of along.entries()) tensor[i] = (tensor[i] ?? 0) + distance * step;
        return (await run(model, [wholeModel(model)], moved)).loss;
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
    const whole = await run(model, [wholeModel(model)], weights);
    expect(whole.loss / tokenCount).toBeGreaterThan(1);
    for (let count = 2; count <= model.layers; count++)
      expect(await run(model, cutIntoStages(model, count), weights)).toEqual(whole);
  });

  it("are those of the microbatch alone when there is room for a larger one", async () => {
    const roomy = await run(model, [wholeModel(model)], weights, { maximumTokens: 3 * tokenCount });
    expect(roomy).toEqual(await run(model, [wholeModel(model)], weights));
  });
});

describe.each(models)("recomputing the activations of a model %s", (_, model) => {
  const weights = weightsOf(model);

  it.each([1, 2, 3])("changes no bit of its gradients in %i stages", async (count) => {
    const specs = cutIntoStages(model, count);
    expect(await run(model, specs, weights, { recompute: true })).toEqual(await run(model, specs, weights));
  });
});

describe.each(models)("the initial weights of a model %s", (_, model) => {
  const wholeLayout = layoutOf(model);

  it("are the same tensors however the model is cut, and change with the seed", () => {
    const whole = initialVector(model, wholeLayout, 3);
    for (const spec of cutIntoStages(model, 3)) {
      const layout = stageLayout(model, spec);
      const own = initialVector(model, layout, 3);
      for (const { name, offset, length } of layout.tensors)
        expect(own.subarray(offset, offset + length)).toEqual(tensorOf(model, whole, name));
    }
    expect(difference(initialVector(model, wholeLayout, 4), whole)).toBeGreaterThan(0.1);
  });
});

describe("a model with bottlenecks", () => {
  const model = squeezedModel;
  const layout = layoutOf(model);

  it("starts as the model without, whose stream goes on in its first channels alone", async () => {
    const weights = Float64Array.from(initialVector(model, layout, 3));
    const { loss, gradients } = await run(model, [wholeModel(model)], weights);
    for (const { name, role } of layout.tensors)
      if (role === "silent")
        expect(
          gradients.get(name)?.some((value) => value !== 0),
          name,
        ).toBe(true);
    const doubled = weights.slice();
    for (const { name, role } of layout.tensors)
      if (role === "projection") tensorOf(model, doubled, name).set(tensorOf(model, weights, name).map((w) => 2 * w));
    expect((await run(model, [wholeModel(model)], doubled)).loss).toBe(loss);
  });

  it("has as many parameters as its layout says", () => {
    expect(parameterCount(model)).toBe(layout.length);
    expect(parameterCount(model)).toBeGreaterThan(parameterCount(smallModel));
  });

  it("sends rank channels wherever it is cut", () => {
    for (const spec of cutIntoStages(model, 3)) {
      expect(channelsBefore(model, spec.fromLayer)).toBe(spec.index === 0 ? model.width : 6);
      const names = stageLayout(model, spec).tensors.map(({ name }) => name);
      expect(names.includes(`layers.${spec.fromLayer}.bottleneck.decoder.down`)).toBe(spec.index > 0);
      expect(names.includes(`layers.${spec.toLayer}.bottleneck.encoder.down`)).toBe(spec.index < 2);
    }
  });
});
