/** What weights are worth, as the network's evaluator finds it: the whole model's loss on text that it was not trained on. */
import { readSample, validationCrops } from "../../../src/compute/data/samples.ts";
import { openDevice } from "../../../src/compute/device.ts";
import { createEngine } from "../../../src/compute/engine.ts";
import type { DeviceKind, Precision } from "../../../src/compute/kernels.ts";
import type { ModelConfig, TrainingConfig } from "../../../src/compute/model/config.ts";
import { optimizerStateLength } from "../../../src/compute/model/optimizer-state.ts";
import { wholeModel } from "../../../src/compute/model/stages.ts";
import type { Dataset } from "./bundled-dataset.ts";

export interface BenchDevice {
  readonly backend: DeviceKind;
  readonly threads: number;
  readonly precision: Precision;
}

export interface HeldOutOptions {
  readonly model: ModelConfig;
  readonly training: TrainingConfig;
  readonly device: BenchDevice;
  readonly dataset: Dataset;
}

const sequences = 256;
const sequencesAtOnce = 16;

/** Nats per token. `weights`: the whole model's parameter vector. */
export async function heldOutLossNats(
  { model, training, device, dataset }: HeldOutOptions,
  weights: Float32Array,
): Promise<number> {
  const engine = createEngine(openDevice);
  await engine.open({ ...device, model, training, stage: wholeModel(model) });
  await engine.load({ weights, optimizer: new Float32Array(optimizerStateLength(training.mode, weights.length)) });
  const crops = validationCrops(dataset.manifest, training.sequenceLength, sequences);
  const losses: number[] = [];
  for (let first = 0; first < crops.length; first += sequencesAtOnce) {
    const part = crops.slice(first, first + sequencesAtOnce);
    const sample = readSample(part, training.sequenceLength, dataset.shardOf);
    losses.push((await engine.evaluate(sample)).lossSumNats / training.sequenceLength);
  }
  engine.close();
  return losses.reduce((sum, loss) => sum + loss, 0) / crops.length;
}
