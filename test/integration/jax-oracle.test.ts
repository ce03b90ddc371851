/**
 * An independent oracle for the hand-derived gradients: the same model written in jax-js, whose autodiff shares no code
 * and no derivation with ours.
 */
import { defaultDevice, init, nn, numpy as np, valueAndGrad } from "@jax-js/jax";
import { beforeAll, describe, expect, it } from "vitest";
import { createReferenceDevice } from "../../src/compute/backends/reference/device.ts";
import { stageLayout } from "../../src/compute/model/layout.ts";
import { createMemory } from "../../src/compute/model/memory.ts";
import {
  createStage,
  embeddingOf,
  headOf,
  lossForwardBackward,
  passOf,
  stageForward,
} from "../../src/compute/model/stage.ts";
import { allocateActivations } from "../../src/compute/model/stage-memory.ts";
import { wholeModel } from "../../src/compute/model/stages.ts";
import { difference, magnitude, randomTokens, randomWeights, smallModel } from "../compute/small-model.ts";

const model = smallModel;
const sequences = 2;
const sequenceLength = 7;
const tokenCount = sequences * sequenceLength;

const layout = stageLayout(model, wholeModel(model));
const weights = randomWeights(model, layout);
const tokens = randomTokens(model, tokenCount, "tokens");
const targets = randomTokens(model, tokenCount, "targets");

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
      expect(magnitude(theirs), name).toBeGreaterThan(1e-3);
      expect(difference(ours, theirs), name).toBeLessThan(tolerance);
    }
  });
});

async function ourLossAndGradients(): Promise<{ loss: number; gradients: Float64Array }> {
  const device = createReferenceDevice();
  const size = { maximumTokens: tokenCount, recompute: false };
  const stage = createStage(device.kernels, createMemory(device), model, wholeModel(model), size);
  const shape = { sequences, queries: sequenceLength, keys: sequenceLength };
  const pass = passOf(stage, allocateActivations(stage), shape);
  device.upload(stage.parameters, weights);
  device.uploadIndices(embeddingOf(pass).tokens, tokens);
  device.uploadIndices(headOf(pass).targets, targets);
  stageForward(stage, pass);
  const losses = await device.downloadDouble(lossForwardBackward(stage, pass));
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
