/** What the swarm is held against: the same samples through the same engine, the whole model in one process. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Manifest } from "../../../src/compute/data/manifest.ts";
import { readSample, type Sample, validationCrops } from "../../../src/compute/data/samples.ts";
import { decodeShard, type TokenArray } from "../../../src/compute/data/shard.ts";
import { openDevice } from "../../../src/compute/device.ts";
import { type ComputeEngine, createEngine } from "../../../src/compute/engine.ts";
import { optimizerStateLength } from "../../../src/compute/model/optimizer-state.ts";
import { wholeModel } from "../../../src/compute/model/stages.ts";
import { trainSingleProcess } from "../../../src/compute/single-process.ts";
import { blobsFolder } from "../../../src/network/checkpoints/archive.ts";
import { readManifest } from "../../../src/network/dataset/prepare-dataset.ts";
import { planStages, type RunDefinition } from "../../../src/network/orchestrator/core/definition.ts";
import { joinStages } from "../../../src/network/validator/join-stages.ts";
import type { BlobHash } from "../../../src/protocol/ids.ts";
import type { TrainingConfig } from "../../../src/protocol/run-config.ts";
import type { Checkpoint } from "../../../src/protocol/run-view.ts";
import { microbatchesInStep } from "../../../src/protocol/source-shares.ts";
import { progress, rounded } from "../shared/report.ts";
import type { Validated } from "./figures.ts";

/** The text of a run, in memory. */
export interface RunText {
  readonly manifest: Manifest;
  readonly shardOf: (hash: BlobHash) => TokenArray;
}

/** As the network with this state folder has prepared it. */
export async function readRunText({ dataset }: RunDefinition, stateFolder: string): Promise<RunText> {
  const read = (hash: BlobHash) => readFile(join(blobsFolder(stateFolder), hash));
  const manifest = await readManifest(dataset.manifest, { get: read });
  const shards = new Map<BlobHash, TokenArray>();
  for (const { hash } of [...manifest.trainShards, ...manifest.validationShards])
    shards.set(hash, decodeShard(await read(hash)));
  return {
    manifest,
    shardOf(hash) {
      const shard = shards.get(hash);
      if (shard === undefined) throw new Error(`the dataset has no shard ${hash}`);
      return shard;
    },
  };
}

export function validationSample({ manifest, shardOf }: RunText, sequenceLength: number, sequences: number): Sample {
  return readSample(validationCrops(manifest, sequenceLength, sequences), sequenceLength, shardOf);
}

export interface CentralisedOptions {
  readonly definition: RunDefinition;
  readonly training: TrainingConfig;
  readonly text: RunText;
  readonly sample: Sample;
  readonly epochs: number;
  readonly threads: number;
  readonly precision: "f32" | "bf16";
  /** Called when half of the epochs are over: what is compared is measured in the midst of what it is compared with. */
  readonly atHalf: () => Promise<void>;
}

export interface CentralisedCourse {
  /** From the first step on, without validations, at the end of each epoch. */
  readonly curve: readonly Validated[];
  /** Processor time of all epochs but the first. */
  readonly processorSeconds: number;
}

/** Epochs are only a way of counting: nothing is merged. The model has no bottlenecks, and nothing is compressed. */
export async function trainCentralised(options: CentralisedOptions): Promise<CentralisedCourse> {
  const { definition, training, text, sample, epochs, threads, precision, atHalf } = options;
  const { minimumReplicas: replicas } = definition;
  const { bottleneck: _, ...model } = definition.model;
  const { stepsPerEpoch } = training;
  const engine = createEngine(openDevice);
  const curve: Validated[] = [];
  const tokensPerStep =
    microbatchesInStep(replicas, training.microbatchesPerStep) *
    training.sequencesPerMicrobatch *
    training.sequenceLength;
  const half = Math.max(1, Math.floor(epochs / 2));
  const watch = new Stopwatch();
  watch.start();
  try {
    await trainSingleProcess(engine, {
      ...{ ...text, backend: "native", threads, precision, model, training, stepsPerEpoch },
      sources: Array(epochs * stepsPerEpoch).fill(replicas),
      async afterStep(steps) {
        if (steps % stepsPerEpoch !== 0) return;
        watch.stop();
        const epoch = steps / stepsPerEpoch;
        const tokens = steps * tokensPerStep;
        if (epoch === 1) watch.resetProcessor();
        curve.push({ tokens, seconds: watch.seconds, validationLossNats: await validate(engine, sample) });
        progress(`one process: ${tokens} tokens, ${rounded(curve.at(-1)?.validationLossNats ?? Number.NaN, 3)} nats`);
        if (epoch === half) await atHalf();
        watch.start();
      },
    });
  } finally {
    engine.close();
  }
  return { curve, processorSeconds: watch.processorSeconds };
}

/** What each checkpoint of a run is worth. */
export async function validateCheckpoints(
  { model, stages, training }: RunDefinition,
  checkpoints: readonly Checkpoint[],
  sample: Sample,
  { keptFolder, threads }: { readonly keptFolder: string; readonly threads: number },
): Promise<ReadonlyMap<Checkpoint, number>> {
  const engine = createEngine(openDevice);
  const specs = planStages({ model, stages }).map(({ spec }) => spec);
  const losses = new Map<Checkpoint, number>();
  try {
    await engine.open({
      ...{ backend: "native", threads, model, stage: wholeModel(model) },
      training: { ...training, mode: "sync", sequencesPerMicrobatch: 1 },
    });
    for (const checkpoint of checkpoints) {
      const read = checkpoint.stages.map(({ weights }) => readFile(join(keptFolder, weights.hash)));
      const weights = joinStages(model, specs, await Promise.all(read));
      await engine.load({ weights, optimizer: new Float32Array(optimizerStateLength("sync", weights.length)) });
      losses.set(checkpoint, await validate(engine, sample));
    }
  } finally {
    engine.close();
  }
  return losses;
}

/** Nats per token. */
async function validate(engine: ComputeEngine, sample: Sample): Promise<number> {
  const { lossSumNats } = await engine.evaluate(sample);
  return lossSumNats / sample.tokens.length;
}

/** Time of the clock and of the processor, without the pauses. */
class Stopwatch {
  #milliseconds = 0;
  #processorMicroseconds = 0;
  #startedAtMs = 0;
  #startedAt = process.cpuUsage();

  get seconds(): number {
    return this.#milliseconds / 1000;
  }

  get processorSeconds(): number {
    return this.#processorMicroseconds / 1e6;
  }

  start(): void {
    this.#startedAtMs = performance.now();
    this.#startedAt = process.cpuUsage();
  }

  stop(): void {
    this.#milliseconds += performance.now() - this.#startedAtMs;
    const { user, system } = process.cpuUsage(this.#startedAt);
    this.#processorMicroseconds += user + system;
  }

  resetProcessor(): void {
    this.#processorMicroseconds = 0;
  }
}
