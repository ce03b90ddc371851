import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { mergeContributions, wholeContribution } from "../../test/compute/merge-contributions.ts";
import { difference, smallModel } from "../../test/compute/small-model.ts";
import { blobHashSchema } from "../protocol/ids.ts";
import { createReferenceDevice } from "./backends/reference/device.ts";
import { byteTokenizer } from "./data/byte-tokenizer.ts";
import { buildDataset } from "./data/manifest.ts";
import { readSample, trainingCrops, validationCrops } from "./data/samples.ts";
import { decodeShard, type TokenArray } from "./data/shard.ts";
import { splitDocuments } from "./data/split.ts";
import { createEngine } from "./engine.ts";
import { presets } from "./model/presets.ts";
import { wholeModel } from "./model/stages.ts";
import { trainSingleProcess } from "./single-process.ts";

const model = { ...smallModel, layers: 1, vocabulary: byteTokenizer.vocabulary };
const training = { ...presets.tiny.training, sequenceLength: 16, microbatchesPerStep: 1, learningRate: 0.03 };
const text = "It is a truth universally acknowledged, that text which says the same again is soon learnt. ";
const split = splitDocuments([text.repeat(30)], byteTokenizer, 0.1);
const { manifest, files } = buildDataset(split, byteTokenizer, 1000, (file) =>
  blobHashSchema.parse(createHash("sha256").update(file).digest("hex")),
);
const shards = new Map([...files].map(([hash, file]) => [hash, decodeShard(file)]));
const shardOf = (hash: string): TokenArray => {
  const shard = [...shards].find(([key]) => key === hash)?.[1];
  if (!shard) throw new Error(`no shard ${hash}`);
  return shard;
};
const options = { backend: "reference", threads: 1, model, training, manifest, shardOf } as const;

describe("training in a single process", () => {
  it("learns, and what it learns holds for text it was not trained on", async () => {
    const engine = createEngine(async () => createReferenceDevice());
    const { lossesNats } = await trainSingleProcess(engine, { ...options, sources: Array(30).fill(1) });
    expect(lossesNats[0]).toBeCloseTo(Math.log(256), 0);
    expect(lossesNats.at(-1)).toBeLessThan(3);
    const sample = readSample(validationCrops(manifest, training.sequenceLength, 4), training.sequenceLength, shardOf);
    const { lossSumNats } = await engine.evaluate(sample);
    expect(lossSumNats / sample.targets.length).toBeLessThan(3);
  });

  it("equals a sync replica that is given the samples of all sources in order", async () => {
    const alone = createEngine(async () => createReferenceDevice());
    const sources = [2, 1, 2];
    const result = await trainSingleProcess(alone, { ...options, sources });
    const replica = createEngine(async () => createReferenceDevice());
    await replica.open({ ...options, training: { ...training, mode: "sync" }, stage: wholeModel(model) });
    for (const [epoch, sourcesInStep] of sources.entries()) {
      for (let index = 0; index < sourcesInStep * training.microbatchesPerStep; index++) {
        const crops = trainingCrops(manifest, training, { epoch, index });
        const sample = readSample(crops, training.sequenceLength, shardOf);
        await replica.forwardBackward({ microbatch: `${index}`, ...sample, send: null });
      }
      await mergeContributions(replica, "sync", [await wholeContribution(replica)]);
    }
    expect(difference((await replica.state()).weights, result.weights)).toBeLessThan(1e-6);
    expect(result.lossesNats).toHaveLength(3);
  });
});
