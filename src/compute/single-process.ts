/**
 * Training without a network: one engine, the whole model, the samples that a run with so many sources would train on.
 * It is the yardstick: `sync` runs must equal it, and benchmarks compare with it.
 */
import type { Manifest } from "./data/manifest.ts";
import { readSample, trainingCrops } from "./data/samples.ts";
import type { TokenArray } from "./data/shard.ts";
import type { ComputeEngine } from "./engine.ts";
import type { ModelConfig, TrainingConfig } from "./model/config.ts";
import { wholeModel } from "./model/stages.ts";
import type { OpenOptions } from "./worker-protocol.ts";

export interface SingleProcessRun extends Pick<OpenOptions, "backend" | "threads" | "precision"> {
  readonly model: ModelConfig;
  readonly training: TrainingConfig;
  readonly manifest: Manifest;
  readonly shardOf: (hash: Manifest["trainShards"][number]["hash"]) => TokenArray;
  /** At each step, first-stage replicas of the run to be equalled: it takes sources · microbatchesPerStep microbatches. */
  readonly sources: readonly number[];
  /** Of the run to be equalled; 1 when left out, as in `sync` mode. */
  readonly stepsPerEpoch?: number;
  /** Called after each step, with how many there were; training waits for it. */
  readonly afterStep?: (steps: number) => Promise<void>;
}

export interface SingleProcessResult {
  /** Mean loss of each step's tokens, before the step, in nats. */
  readonly lossesNats: readonly number[];
  /** The whole model's parameter vector. */
  readonly weights: Float32Array;
}

/**
 * Every epoch takes the samples (epoch, 0 … ), in this order, as the run does: in each step the next sources · microbatchesPerStep of
 * them. It is computed as local steps of a replica that never merges: the same optimizer on the same mean gradient, without moving it about.
 */
export async function trainSingleProcess(engine: ComputeEngine, run: SingleProcessRun): Promise<SingleProcessResult> {
  const { model, manifest, sources, shardOf, backend, threads, precision, stepsPerEpoch = 1, afterStep } = run;
  const training: TrainingConfig = { ...run.training, mode: "local-steps" };
  await engine.open({ backend, threads, precision, model, training, stage: wholeModel(model) });
  const lossesNats: number[] = [];
  let taken = 0;
  for (const [step, sourcesInStep] of sources.entries()) {
    const epoch = Math.floor(step / stepsPerEpoch);
    if (step % stepsPerEpoch === 0) taken = 0;
    let lossSumNats = 0;
    for (const end = taken + sourcesInStep * training.microbatchesPerStep; taken < end; taken++) {
      const crops = trainingCrops(manifest, training, { epoch, index: taken });
      const sample = readSample(crops, training.sequenceLength, shardOf);
      const result = await engine.forwardBackward({ microbatch: `${epoch}/${taken}`, ...sample, send: null });
      lossSumNats += result.lossSumNats;
    }
    const { tokens } = await engine.step();
    lossesNats.push(lossSumNats / tokens);
    await afterStep?.(step + 1);
  }
  return { lossesNats, weights: (await engine.state()).weights };
}
