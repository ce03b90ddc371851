/** Gradients of whole models over shapes that nobody chose, on every back end, against the float64 reference. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createNativeDevice, nativeInstructionSets } from "../../src/compute/backends/native/device.ts";
import { createReferenceDevice } from "../../src/compute/backends/reference/device.ts";
import { createWebGpuDevice } from "../../src/compute/backends/webgpu/device.ts";
import type { Device } from "../../src/compute/kernels.ts";
import type { ModelConfig } from "../../src/compute/model/config.ts";
import { stageLayout } from "../../src/compute/model/layout.ts";
import { wholeModel } from "../../src/compute/model/stages.ts";
import {
  balancedWeights,
  type LossAndGradients,
  lossAndGradients,
  type Microbatch,
  tensorDistances,
} from "../compute/gradients.ts";
import { difference, randomTokens, smallModel } from "../compute/small-model.ts";
import { describeWithWebGpu } from "../compute/webgpu-adapter.ts";

/** fast-check prints it with every counterexample. */
const seed = 20_261_126;

interface Shape {
  readonly layers: number;
  readonly keyValueHeads: number;
  /** Heads that share keys and values. */
  readonly groupHeads: number;
  /** Half of a head's channels. */
  readonly half: number;
  readonly feedForward: number;
  readonly vocabulary: number;
  readonly sequences: number;
  readonly sequenceLength: number;
  /** Whether there is a bottleneck before the second layer. */
  readonly squeezed: boolean;
}

const upTo = (max: number) => fc.integer({ min: 1, max });
const between = (min: number, max: number) => fc.integer({ min, max });

/** `narrowest`: fewest channels of anything. The bfloat16 rounding of a few numbers does not average out. */
const shapes = (narrowest: number) =>
  fc.record<Shape>({
    layers: upTo(2),
    keyValueHeads: upTo(3),
    groupHeads: upTo(2),
    half: between(narrowest / 2, narrowest / 2 + 10),
    feedForward: between(narrowest, 90),
    vocabulary: between(narrowest, 90),
    sequences: upTo(3),
    sequenceLength: fc.oneof(fc.constant(1), upTo(20), between(30, 80)),
    squeezed: fc.boolean(),
  });
const usual: Shape = {
  ...{ layers: 2, keyValueHeads: 2, groupHeads: 2, half: 9, feedForward: 90, vocabulary: 61 },
  ...{ sequences: 1, sequenceLength: 20, squeezed: true },
};
/** A bottleneck; a single token; a sequence over several of attention's blocks; heads as wide as large models' on an odd batch. */
const examples: [Shape][] = [
  [usual],
  [{ ...usual, sequenceLength: 1 }],
  [{ ...usual, layers: 1, keyValueHeads: 1, sequenceLength: 333 }],
  [{ ...usual, layers: 1, keyValueHeads: 1, half: 32, sequences: 3, sequenceLength: 33 }],
];

function modelOf({ keyValueHeads, groupHeads, half, squeezed, ...shape }: Shape): ModelConfig {
  const heads = keyValueHeads * groupHeads;
  const { layers, feedForward, vocabulary, sequenceLength: context } = shape;
  const bottleneck = { rank: heads * half, hidden: feedForward, beforeLayers: [1] };
  return {
    ...smallModel,
    ...(squeezed && layers > 1 ? { bottleneck } : {}),
    ...{ layers, heads, keyValueHeads, width: heads * 2 * half, feedForward, vocabulary, context },
  };
}

function microbatchOf(model: ModelConfig, { sequences, sequenceLength }: Shape): Microbatch {
  const count = sequences * sequenceLength;
  return {
    sequences,
    tokens: randomTokens(model, count, "tokens"),
    targets: randomTokens(model, count, "targets"),
  };
}

/** Of every shape once: the reference takes longer than all other devices together. */
const expectations = new Map<string, Promise<LossAndGradients>>();

function expectedOf(shape: Shape): Promise<LossAndGradients> {
  const key = JSON.stringify(shape);
  const known = expectations.get(key) ?? run(createReferenceDevice(), shape);
  expectations.set(key, known);
  return known;
}

function run(device: Device, shape: Shape): Promise<LossAndGradients> {
  const model = modelOf(shape);
  return lossAndGradients(device, model, balancedWeights(model), microbatchOf(model, shape));
}

interface Expectation {
  readonly tolerance: number;
  /** What the tolerance is a share of. In bfloat16 small tensors' gradients are differences of large numbers, and are noisier. */
  readonly of: "every tensor" | "the whole";
  readonly narrowest: number;
  readonly runs: number;
}

function itAgrees(name: string, createDevice: () => Device | Promise<Device>, expectation: Expectation): void {
  const { tolerance, of, narrowest, runs } = expectation;
  it(`of ${name} are the reference's to ${tolerance} of ${of} (seed ${seed})`, async () => {
    const device = await createDevice();
    try {
      await fc.assert(
        fc.asyncProperty(shapes(narrowest), async (shape) => {
          const [found, expected] = [await run(device, shape), await expectedOf(shape)];
          expect(Math.abs(found.loss / expected.loss - 1), "loss").toBeLessThan(tolerance);
          expect(difference(found.gradients, expected.gradients), "the whole").toBeLessThan(tolerance);
          if (of === "the whole") return;
          const model = modelOf(shape);
          const distances = tensorDistances(stageLayout(model, wholeModel(model)), found.gradients, expected.gradients);
          for (const [tensor, distance] of distances) expect(distance, tensor).toBeLessThan(tolerance);
        }),
        { seed, numRuns: runs, examples },
      );
    } finally {
      device.close();
    }
  });
}

const f32 = { tolerance: 1e-5, of: "every tensor", narrowest: 2 } as const;
/** Each product rounds once more, and with a bottleneck there are six more of them one after the other. */
const bf16 = { tolerance: 3e-2, of: "the whole", narrowest: 32 } as const;

/** For a busy machine: idle, all of it takes seconds. */
describe("a model's gradients", { timeout: 120_000 }, () => {
  for (const instructionSet of nativeInstructionSets()) {
    const createDevice = () => createNativeDevice({ threads: 2, instructionSet });
    itAgrees(`native, ${instructionSet}`, createDevice, { ...f32, runs: 15 });
  }

  for (const instructionSet of nativeInstructionSets("bf16")) {
    const createDevice = () => createNativeDevice({ threads: 2, precision: "bf16", instructionSet });
    itAgrees(`native, ${instructionSet}`, createDevice, { ...bf16, runs: 6 });
  }

  describeWithWebGpu(() => itAgrees("webgpu", () => createWebGpuDevice(), { ...f32, runs: 6 }));
});
