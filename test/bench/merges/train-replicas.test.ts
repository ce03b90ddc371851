import { describe, expect, it } from "vitest";
import { presets } from "../../../src/compute/model/presets.ts";
import { mergeCodecs, noCompression, type TrainingConfig } from "../../../src/protocol/run-config.ts";
import { difference, byteModel as model } from "../../compute/small-model.ts";
import { bundledDataset } from "../shared/bundled-dataset.ts";
import { trainReplicas } from "./train-replicas.ts";

const steps = 6;
const sequencesPerStep = 4;
const dataset = await bundledDataset("bytes");
const device = { backend: "reference", threads: 1, precision: "f32" } as const;

function trainingOf(replicas: number, changes: Partial<TrainingConfig> = {}): TrainingConfig {
  return {
    ...presets.tiny.training,
    ...{ sequenceLength: 8, sequencesPerMicrobatch: sequencesPerStep / replicas, microbatchesPerStep: 1 },
    ...{ stepsPerEpoch: 1, outerLearningRate: 1, outerMomentum: 0, ...changes },
  };
}

function train(replicas: number, changes: Partial<TrainingConfig> = {}) {
  return trainReplicas({ model, training: trainingOf(replicas, changes), dataset, device, replicas, steps });
}

const alone = await train(1);

describe("replicas in one process", () => {
  it("learn what one process learns of all their samples when gradients are merged at every step", async () => {
    const { weights } = await train(2, { mode: "sync" });
    expect(difference(weights, alone.weights)).toBeLessThan(1e-5);
  });

  it("merge at the end, even in the middle of an epoch, and send as much as the codec needs", async () => {
    const compression = { ...noCompression, merge: mergeCodecs.dense2 };
    const { contributions, averages, movements, weights } = await train(4, { stepsPerEpoch: 4, compression });
    expect(contributions.bytesPerParameter(weights.length)).toBeGreaterThan(0.25);
    expect(contributions.bytesPerParameter(weights.length)).toBeLessThan(0.3);
    expect(averages.bytesPerParameter(weights.length)).toBe(contributions.bytesPerParameter(weights.length));
    expect(movements.bytesPerParameter(weights.length)).toBeNull();
  });

  it.each([0, 1] as const)(
    "stay near one process when each step's movements are averaged, with lag %i",
    async (lag) => {
      const compression = { ...noCompression, exchange: { codec: mergeCodecs.f32, lag } };
      const { weights, movements } = await train(2, { stepsPerEpoch: 6, compression });
      expect(movements.bytesPerParameter(weights.length)).toBe(4);
      const apart = await train(2, { stepsPerEpoch: 6 });
      expect(difference(weights, alone.weights)).toBeLessThan(difference(apart.weights, alone.weights));
    },
  );
});
