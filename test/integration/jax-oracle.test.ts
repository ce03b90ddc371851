/**
 * An independent oracle for the hand-derived gradients: the same model written in jax-js, whose autodiff shares no code
 * and no derivation with ours.
 */
import { defaultDevice, init, nn, numpy as np, valueAndGrad } from "@jax-js/jax";
import { beforeAll, describe, expect, it } from "vitest";
import { createReferenceDevice } from "../../src/compute/backends/reference/device.ts";
import { slice } from "../../src/compute/kernels.ts";
import type { ModelConfig } from "../../src/compute/model/config.ts";
import { headBackward, headForward, headLoss } from "../../src/compute/model/head.ts";
import { stageLayout } from "../../src/compute/model/layout.ts";
import {
  allocateActivations,
  createStage,
  passOf,
  stageBackward,
  stageForward,
} from "../../src/compute/model/stage.ts";
import { wholeModel } from "../../src/compute/model/stages.ts";
import { fillNormal, streamKey, uniform } from "../../src/compute/random.ts";

const model: ModelConfig = {
  vocabulary: 24,
  width: 16,
  layers: 2,
  heads: 4,
  keyValueHeads: 2,
  feedForward: 20,
  context: 8,
  rotaryBase: 10_000,
  normEpsilon: 1e-5,
};
const sequences = 2;
const sequenceLength = 7;
const tokenCount = sequences * sequenceLength;

const layout = stageLayout(model, wholeModel(model));
const weights = new Float32Array(layout.length);
// Larger than a model starts with, so that no gradient is lost in rounding; gains away from one.
fillNormal(weights, streamKey(11, "oracle"), 0.3);
const draw = (name: string) =>
  Int32Array.from({ length: tokenCount }, (_, i) => Math.floor(uniform(streamKey(11, name), 0, i) * model.vocabulary));
const tokens = draw("tokens");
const targets = draw("targets");

type Weights = Record<string, np.Array>;
const float = { dtype: np.float64 };
/** jax-js adds and multiplies in float64, but its exponentials and cosines are good to single precision only. */
const tolerance = 1e-5;

describe("loss and gradients", () => {
  let jaxLoss = 0;
  let jaxGradients: Weights = {};

  beforeAll(async () => {
    await init("wasm");
    defaultDevice("wasm");
    const [loss, gradients] = valueAndGrad(jaxModelLoss)(
      Object.fromEntries(
        layout.tensors.map(({ name, shape, offset, length }) => [
          name,
          np.array([...weights.subarray(offset, offset + length)], float).reshape([...shape]),
        ]),
      ),
    );
    jaxLoss = Number((await loss.data())[0]);
    jaxGradients = gradients;
  });

  it("of a whole model agree with automatic differentiation, tensor by tensor", async () => {
    const { loss, gradients } = await ourLossAndGradients();
    expect(Math.abs(loss - jaxLoss) / jaxLoss).toBeLessThan(tolerance);
    for (const { name, offset, length } of layout.tensors) {
      const theirs = Float64Array.from(await (jaxGradients[name] as np.Array).data());
      const ours = gradients.subarray(offset, offset + length);
      expect(norm(theirs), name).toBeGreaterThan(1e-3);
      expect(norm(ours.map((value, i) => value - (theirs[i] ?? Number.NaN))) / norm(theirs), name).toBeLessThan(tolerance);
    }
  });
});

async function ourLossAndGradients(): Promise<{ loss: number; gradients: Float64Array }> {
  const device = createReferenceDevice();
  const stage = createStage(device, model, wholeModel(model), tokenCount);
  const shape = { sequences, queries: sequenceLength, keys: sequenceLength };
  const pass = passOf(stage, allocateActivations(stage), shape);
  if (!pass.embedding || !pass.head) throw new Error("not a whole model");
  device.upload(stage.parameters, weights);
  device.uploadIndices(pass.embedding.tokens, tokens);
  device.uploadIndices(pass.head.targets, targets);
  stageForward(stage, pass);
  headForward(device.kernels, model, pass.head, pass.output);
  headLoss(device.kernels, model, pass.head);
  headBackward(device.kernels, model, pass.head, pass.dx, pass.output);
  stageBackward(stage, pass);
  const losses = await device.downloadDouble(slice(pass.head.rows.losses.buffer, 0, tokenCount));
  return { loss: losses.reduce((a, b) => a + b), gradients: await device.downloadDouble(stage.gradients) };
}

/** Summed loss of the model. jax-js frees an array with its last use; `.ref` says that another follows. */
function jaxModelLoss(parameters: Weights): np.Array {
  const weight = (name: string) => parameters[name] as np.Array;
  let x = np.matmul(oneHot(tokens), weight("embedding")).reshape([sequences, sequenceLength, model.width]);
  for (let layer = 0; layer < model.layers; layer++) {
    const attention = (part: string) => weight(`layers.${layer}.attention.${part}`);
    const feed = (part: string) => weight(`layers.${layer}.feedForward.${part}`);
    const normed = jaxNorm(x.ref, attention("norm"));
    const query = jaxRotary(heads(linear(normed.ref, attention("query")), model.heads));
    const key = jaxRotary(heads(linear(normed.ref, attention("key")), model.keyValueHeads));
    const value = heads(linear(normed, attention("value")), model.keyValueHeads);
    x = x.add(linear(jaxAttention(query, key, value), attention("output")));
    const inner = jaxNorm(x.ref, feed("norm"));
    const activated = nn.silu(linear(inner.ref, feed("gate"))).mul(linear(inner, feed("up")));
    x = x.add(linear(activated, feed("down")));
  }
  const logits = linear(jaxNorm(x, weight("norm")), weight("head")).reshape([tokenCount, model.vocabulary]);
  return np.sum(nn.logSoftmax(logits, -1).mul(oneHot(targets))).mul(-1);
}

function oneHot(ids: Int32Array): np.Array {
  const rows = [...ids].map((id) => Array.from({ length: model.vocabulary }, (_, column) => (column === id ? 1 : 0)));
  return np.array(rows, float);
}

function linear(x: np.Array, weight: np.Array): np.Array {
  return np.matmul(x, np.matrixTranspose(weight));
}

function jaxNorm(x: np.Array, gain: np.Array): np.Array {
  const meanSquare = np.mean(np.square(x.ref), -1, { keepdims: true });
  return x.div(np.sqrt(meanSquare.add(model.normEpsilon))).mul(gain);
}

function heads(x: np.Array, count: number): np.Array {
  return x.reshape([sequences, sequenceLength, count, model.width / model.heads]);
}

function jaxRotary(x: np.Array): np.Array {
  const half = model.width / model.heads / 2;
  const angles = Array.from({ length: sequenceLength }, (_, position) => [
    Array.from({ length: half }, (_, channel) => position * model.rotaryBase ** (-channel / half)),
  ]);
  const cos = np.cos(np.array(angles, float));
  const sin = np.sin(np.array(angles, float));
  const [a, b] = np.split(x, 2, -1) as [np.Array, np.Array];
  return np.concatenate([a.ref.mul(cos.ref).sub(b.ref.mul(sin.ref)), b.mul(cos).add(a.mul(sin))], -1);
}

function jaxAttention(query: np.Array, key: np.Array, value: np.Array): np.Array {
  const headDim = model.width / model.heads;
  const group = model.heads / model.keyValueHeads;
  const grouped = query.reshape([sequences, sequenceLength, model.keyValueHeads, group, headDim]);
  const scores = np.einsum("btkgd,bskd->bkgts", grouped, key).mul(1 / Math.sqrt(headDim));
  const future = Array.from({ length: sequenceLength }, (_, t) =>
    Array.from({ length: sequenceLength }, (_, s) => (s > t ? -1e9 : 0)),
  );
  const probabilities = nn.softmax(scores.add(np.array(future, float)), -1);
  return np.einsum("bkgts,bskd->btkgd", probabilities, value).reshape([sequences, sequenceLength, model.width]);
}

function norm(values: Float64Array): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
}
