/** The proof of correctness: training spread over processes is the same training. */
import { afterEach, expect, it } from "vitest";
import { decodeShard, type TokenArray } from "../../src/compute/data/shard.ts";
import { openDevice } from "../../src/compute/device.ts";
import { createEngine } from "../../src/compute/engine.ts";
import { stageLayout } from "../../src/compute/model/layout.ts";
import { presets } from "../../src/compute/model/presets.ts";
import { cutIntoStages, wholeModel } from "../../src/compute/model/stages.ts";
import { trainSingleProcess } from "../../src/compute/single-process.ts";
import { floatsOf } from "../../src/protocol/identity.ts";
import { Swarm } from "./processes/swarm.ts";

const steps = 50;
const stages = 3;
const replicas = 2;
const { model } = presets.tiny;
const training = { ...presets.tiny.training, mode: "sync", stepsPerEpoch: 1 } as const;

let swarm: Swarm | undefined;
afterEach(() => swarm?.close());

it("a sync run of 3 stages × 2 replicas in processes equals a single process over 50 steps", {
  timeout: 120_000,
}, async () => {
  const tokensPerStep =
    replicas * training.microbatchesPerStep * training.sequencesPerMicrobatch * training.sequenceLength;
  swarm = await Swarm.start({ stages, replicas, mode: "sync", tokens: steps * tokensPerStep });
  swarm.startMiners(stages * replicas);
  await swarm.until(() => swarm?.view?.phase === "finished");
  const single = await singleProcess(swarm);

  expect(swarm.view?.microbatchesLost).toBe(0);
  const losses = swarm.epochs.map(({ trainLossNats }) => trainLossNats ?? Number.NaN);
  expect(losses.length).toBeGreaterThan(0.8 * steps);
  const lossGaps = losses.map((loss, step) => relativeGap([loss], [single.lossesNats[step] ?? Number.NaN]));
  expect(Math.max(...lossGaps)).toBeLessThan(1e-4);
  expect(losses.at(-1)).toBeLessThan(0.8 * (losses[0] ?? 0));

  const trained = await checkpointTensors(swarm);
  const whole = tensorsOf(single.weights, wholeModel(model));
  expect(new Set(trained.keys())).toEqual(new Set(whole.keys()));
  const weightGaps = [...whole].map(([name, values]) => relativeGap(trained.get(name) ?? [], values));
  expect(Math.max(...weightGaps)).toBeLessThan(1e-3);
  console.info(
    `largest gaps: loss ${Math.max(...lossGaps).toExponential(1)}, weights ${Math.max(...weightGaps).toExponential(1)}`,
  );
});

async function singleProcess(swarm: Swarm) {
  const manifest = await swarm.manifest();
  const shards = new Map<string, TokenArray>();
  for (const { hash, bytes } of manifest.trainShards)
    shards.set(hash, decodeShard(await swarm.blobs.get({ hash, bytes })));
  const engine = createEngine(openDevice);
  const result = await trainSingleProcess(engine, {
    backend: "native",
    threads: 1,
    model,
    training,
    manifest,
    shardOf: (hash) => shards.get(hash) ?? new Uint8Array(),
    sources: sourcesOf(swarm),
  });
  engine.close();
  return result;
}

/** At each step: an epoch does not wait for ever for a source that is late. */
function sourcesOf({ epochs }: Swarm): number[] {
  const tokensPerSource = training.microbatchesPerStep * training.sequencesPerMicrobatch * training.sequenceLength;
  return epochs.map(({ tokens }, epoch) => (tokens - (epochs[epoch - 1]?.tokens ?? 0)) / tokensPerSource);
}

async function checkpointTensors({ view, blobs }: Swarm): Promise<Map<string, Float32Array>> {
  const tensors = new Map<string, Float32Array>();
  for (const [index, stage] of cutIntoStages(model, stages).entries()) {
    const ref = view?.checkpoint?.stages[index]?.weights;
    if (ref === undefined) throw new Error(`the checkpoint has no stage ${index}`);
    for (const [name, values] of tensorsOf(floatsOf(await blobs.get(ref)), stage)) tensors.set(name, values);
  }
  return tensors;
}

function tensorsOf(weights: Float32Array, stage: ReturnType<typeof wholeModel>): Map<string, Float32Array> {
  const { tensors } = stageLayout(model, stage);
  return new Map(tensors.map(({ name, offset, length }) => [name, weights.subarray(offset, offset + length)]));
}

/** ‖a − b‖ ÷ ‖b‖. */
function relativeGap(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  const norm = (values: number[]) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
  return norm(Array.from(b, (value, index) => (a[index] ?? Number.NaN) - value)) / norm(Array.from(b));
}
