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
}

export interface SingleProcessResult {
  /** Mean loss of each step's tokens, before the step, in nats. */
  readonly lossesNats: readonly number[];
  /** The whole model's parameter vector. */
  readonly weights: Float32Array;
}

/**
 * Step e takes the samples (e, 0 … sources · microbatchesPerStep − 1), in this order, as epoch e of a `sync` run does. It is
 * computed as local steps of a replica that never merges: the same optimizer on the same mean gradient, without moving it about.
 */
export async function trainSingleProcess(engine: ComputeEngine, run: SingleProcessRun): Promise<SingleProcessResult> {
  const { model, manifest, sources, shardOf, backend, threads, precision } = run;
  const training: TrainingConfig = { ...run.training, mode: "local-steps" };
  await engine.open({ backend, threads, precision, model, training, stage: wholeModel(model) });
  const lossesNats: number[] = [];
  for (const [epoch, sourcesInStep] of sources.entries()) {
    let lossSumNats = 0;
    for (let index = 0; index < sourcesInStep * training.microbatchesPerStep; index++) {
      const sample = readSample(trainingCrops(manifest, training, { epoch, index }), training.sequenceLength, shardOf);
      const result = await engine.forwardBackward({ microbatch: `${epoch}/${index}`, ...sample, send: null });
      lossSumNats += result.lossSumNats;
    }
    const { tokens } = await engine.step();
    lossesNats.push(lossSumNats / tokens);
  }
  return { lossesNats, weights: (await engine.state()).weights };
}
