/**
 * An independent oracle for the hand-derived gradients: the same model written in jax-js, whose autodiff shares no code
 * and no derivation with ours.
 */
import { defaultDevice, init, nn, numpy as np, valueAndGrad } from "@jax-js/jax";
import { beforeAll, describe, expect, it } from "vitest";
import { createReferenceDevice } from "../../src/compute/backends/reference/device.ts";
import type { ModelConfig } from "../../src/compute/model/config.ts";
import { stageLayout } from "../../src/compute/model/layout.ts";
import { wholeModel } from "../../src/compute/model/stages.ts";
import { lossAndGradients, type Microbatch } from "../compute/gradients.ts";
import { difference, magnitude, randomTokens, randomWeights, smallModel } from "../compute/small-model.ts";

/** A model and the size of the microbatch that passes through it. */
interface Case {
  readonly name: string;
  readonly model: ModelConfig;
  readonly sequences: number;
  readonly sequenceLength: number;
}

const cases: readonly Case[] = [
  { name: "whose heads share keys and values", model: smallModel, sequences: 2, sequenceLength: 7 },
  {
    name: "of odd sizes, with keys and values for every head",
    model: { ...smallModel, layers: 1, width: 30, heads: 3, keyValueHeads: 3, feedForward: 17, vocabulary: 11 },
    sequences: 1,
    sequenceLength: 19,
  },
  {
    name: "whose heads all share one key and value",
    model: { ...smallModel, layers: 2, width: 20, heads: 5, keyValueHeads: 1, feedForward: 33, vocabulary: 7 },
    sequences: 3,
    sequenceLength: 5,
  },
];

type Weights = Record<string, np.Array>;
const float = { dtype: np.float64 };
/** jax-js adds and multiplies in float64, but its exponentials and cosines are good to single precision only. */
const tolerance = 1e-5;

describe("loss and gradients", () => {
  beforeAll(async () => {
    await init("wasm");
    defaultDevice("wasm");
  });

  it.each(cases)("of a model $name agree with automatic differentiation, tensor by tensor", async (shape) => {
    const { model, sequences, sequenceLength } = shape;
    const { tensors, ...layout } = stageLayout(model, wholeModel(model));
    const weights = randomWeights(model, { tensors, ...layout });
    const tokens = randomTokens(model, sequences * sequenceLength, "tokens");
    const targets = randomTokens(model, sequences * sequenceLength, "targets");
    const microbatch = { sequences, tokens, targets };
    const { loss, gradients } = await lossAndGradients(createReferenceDevice(), model, weights, microbatch);
    const [jaxLoss, jaxGradients] = valueAndGrad((parameters: Weights) => jaxModelLoss(shape, microbatch, parameters))(
      Object.fromEntries(
        tensors.map(({ name, shape, offset, length }) => [
          name,
          np.array([...weights.subarray(offset, offset + length)], float).reshape([...shape]),
        ]),
      ),
    );
    const expectedLoss = Number((await jaxLoss.data())[0]);
    expect(Math.abs(loss - expectedLoss) / expectedLoss).toBeLessThan(tolerance);
    for (const { name, offset, length } of tensors) {
      const theirs = Float64Array.from(await (jaxGradients[name] as np.Array).data());
      const ours = gradients.subarray(offset, offset + length);
      expect(magnitude(theirs), name).toBeGreaterThan(1e-3);
      expect(difference(ours, theirs), name).toBeLessThan(tolerance);
    }
  });
});

/** Summed loss of the model. jax-js frees an array with its last use; `.ref` says that another follows. */
function jaxModelLoss(shape: Case, { tokens, targets }: Microbatch, parameters: Weights): np.Array {
  const { model, sequences, sequenceLength } = shape;
  const weight = (name: string) => parameters[name] as np.Array;
  let x = np.matmul(oneHot(tokens, model), weight("embedding")).reshape([sequences, sequenceLength, model.width]);
  for (let layer = 0; layer < model.layers; layer++) {
    const attention = (part: string) => weight(`layers.${layer}.attention.${part}`);
    const feed = (part: string) => weight(`layers.${layer}.feedForward.${part}`);
    const normed = jaxNorm(shape, x.ref, attention("norm"));
    const query = jaxRotary(shape, heads(shape, linear(normed.ref, attention("query")), model.heads));
    const key = jaxRotary(shape, heads(shape, linear(normed.ref, attention("key")), model.keyValueHeads));
    const value = heads(shape, linear(normed, attention("value")), model.keyValueHeads);
    x = x.add(linear(jaxAttention(shape, query, key, value), attention("output")));
    const inner = jaxNorm(shape, x.ref, feed("norm"));
    const activated = nn.silu(linear(inner.ref, feed("gate"))).mul(linear(inner, feed("up")));
    x = x.add(linear(activated, feed("down")));
  }
  const logits = linear(jaxNorm(shape, x, weight("norm")), weight("head")).reshape([
    sequences * sequenceLength,
    model.vocabulary,
  ]);
  return np.sum(nn.logSoftmax(logits, -1).mul(oneHot(targets, model))).mul(-1);
}

function oneHot(ids: Int32Array, model: ModelConfig): np.Array {
  const rows = [...ids].map((id) => Array.from({ length: model.vocabulary }, (_, column) => (column === id ? 1 : 0)));
  return np.array(rows, float);
}

function linear(x: np.Array, weight: np.Array): np.Array {
  return np.matmul(x, np.matrixTranspose(weight));
}

function jaxNorm({ model }: Case, x: np.Array, gain: np.Array): np.Array {
  const meanSquare = np.mean(np.square(x.ref), -1, { keepdims: true });
  return x.div(np.sqrt(meanSquare.add(model.normEpsilon))).mul(gain);
}

function heads({ model, sequences, sequenceLength }: Case, x: np.Array, count: number): np.Array {
  return x.reshape([sequences, sequenceLength, count, model.width / model.heads]);
}

function jaxRotary({ model, sequenceLength }: Case, x: np.Array): np.Array {
  const half = model.width / model.heads / 2;
  const angles = Array.from({ length: sequenceLength }, (_, position) => [
    Array.from({ length: half }, (_, channel) => position * model.rotaryBase ** (-channel / half)),
  ]);
  const cos = np.cos(np.array(angles, float));
  const sin = np.sin(np.array(angles, float));
  const [a, b] = np.split(x, 2, -1) as [np.Array, np.Array];
  return np.concatenate([a.ref.mul(cos.ref).sub(b.ref.mul(sin.ref)), b.mul(cos).add(a.mul(sin))], -1);
}

function jaxAttention(shape: Case, query: np.Array, key: np.Array, value: np.Array): np.Array {
  const { model, sequences, sequenceLength } = shape;
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
