import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { FailureError } from "../../protocol/failure.ts";
import { blobHashSchema } from "../../protocol/ids.ts";
import { streamKey, uniform } from "../random.ts";
import { byteTokenizer } from "./byte-tokenizer.ts";
import { buildDataset } from "./manifest.ts";
import { type Crop, readSample, trainingCrops, validationCrops } from "./samples.ts";
import { decodeShard, encodeShard, largestToken } from "./shard.ts";
import { splitDocuments } from "./split.ts";
import { loadTokenizer } from "./tokenizer.ts";

const shape = { seed: 5, sequenceLength: 16, sequencesPerMicrobatch: 3 };

describe("tokenizers", () => {
  it.each(["bytes", "gpt2", "cl100k"] as const)("%s gives every text back, whatever it spells", async (id) => {
    const tokenizer = await loadTokenizer(id);
    const text = "Call me Ishmael. <|endoftext|> Größe 鯨 🐋\n";
    const tokens = tokenizer.encode(text);
    expect(tokenizer.decode(tokens)).toBe(text);
    expect(largestToken(tokens)).toBeLessThan(tokenizer.vocabulary);
    expect(tokens).not.toContain(tokenizer.endOfDocument);
  });

  it.each(["bytes", "gpt2"] as const)("%s decodes half a character without spoiling the next text", async (id) => {
    const tokenizer = await loadTokenizer(id);
    expect(tokenizer.decode(tokenizer.encode("鯨").subarray(0, 1))).toBe("\uFFFD");
    expect(tokenizer.decode(tokenizer.encode("ö 鯨"))).toBe("ö 鯨");
  });

  it("gpt2 agrees with the published encoding", async () => {
    const tokenizer = await loadTokenizer("gpt2");
    expect([...tokenizer.encode("Hello world")]).toEqual([15496, 995]);
    expect([tokenizer.vocabulary, tokenizer.endOfDocument]).toEqual([50257, 50256]);
  });
});

describe("a shard", () => {
  it.each([
    [256, 1],
    [50_257, 2],
    [128_256, 4],
  ])("of a vocabulary of %i takes %i bytes per token and comes back the same, aligned or not", (vocabulary, bytes) => {
    const tokens = Int32Array.from({ length: 101 }, (_, i) => (i * 7919) % vocabulary);
    const file = encodeShard(tokens, vocabulary);
    expect(file.length).toBe(16 + 101 * bytes);
    expect([...decodeShard(file)]).toEqual([...tokens]);
    const shifted = new Uint8Array(file.length + 1);
    shifted.set(file, 1);
    expect([...decodeShard(shifted.subarray(1))]).toEqual([...tokens]);
  });

  it("that is truncated, padded or mislabelled is a typed failure", () => {
    const file = encodeShard(Int32Array.of(1, 2, 3), 256);
    const damaged = (at: number, value: number) => Uint8Array.from(file, (byte, i) => (i === at ? value : byte));
    const files = [new Uint8Array(3), file.subarray(0, -1), damaged(0, 0), damaged(4, 9), damaged(6, 3), damaged(8, 4)];
    for (const bad of files) expect(() => decodeShard(bad)).toThrow(FailureError);
  });
});

describe("a dataset's samples", () => {
  // Every token of every document is drawn at random, so equal windows are the same window.
  const key = streamKey(1, "documents");
  const documents = Array.from({ length: 4 }, (_, document) =>
    Array.from({ length: 900 + 100 * document }, (_, i) =>
      String.fromCharCode(33 + Math.floor(uniform(key, document, i) * 90)),
    ).join(""),
  );
  const split = splitDocuments(documents, byteTokenizer, 0.1);
  const { manifest, files } = buildDataset(split, byteTokenizer, 1000, (file) =>
    blobHashSchema.parse(createHash("sha256").update(file).digest("hex")),
  );
  const shards = new Map([...files].map(([hash, file]) => [hash, decodeShard(file)]));
  const read = (crops: readonly Crop[]) =>
    readSample(crops, shape.sequenceLength, (hash) => {
      const shard = shards.get(hash);
      if (shard === undefined) throw new Error(`no shard ${hash}`);
      return shard;
    });

  it("hold every token of the documents, split once", () => {
    const text = documents.join("").length;
    expect(split.train.length + split.validation.length).toBe(text + 2 * documents.length);
    expect(split.validation.length / text).toBeCloseTo(0.1, 1);
    const sum = (refs: readonly { tokens: number }[]) => refs.reduce((total, { tokens }) => total + tokens, 0);
    expect(sum(manifest.trainShards)).toBe(split.train.length);
    expect(sum(manifest.validationShards)).toBe(split.validation.length);
  });

  it("are the same for whoever asks, and differ by epoch, index and seed", () => {
    const name = { epoch: 3, index: 8 };
    expect(trainingCrops(manifest, shape, name)).toEqual(trainingCrops(manifest, shape, name));
    const others = [
      trainingCrops(manifest, shape, { epoch: 4, index: 8 }),
      trainingCrops(manifest, shape, { epoch: 3, index: 9 }),
      trainingCrops(manifest, { ...shape, seed: 6 }, name),
    ];
    for (const other of others) expect(other).not.toEqual(trainingCrops(manifest, shape, name));
  });

  it("have as targets the tokens that follow the inputs", () => {
    const { sequences, tokens, targets } = read(trainingCrops(manifest, shape, { epoch: 0, index: 0 }));
    expect(sequences).toBe(3);
    for (let i = 0; i < tokens.length; i++)
      if ((i + 1) % shape.sequenceLength !== 0) expect(targets[i]).toBe(tokens[i + 1]);
  });

  it("reach all of the training text and nothing of the validation text", () => {
    const windows = (tokens: ArrayLike<number>) => {
      const seen = new Set<string>();
      const all = Array.from(tokens);
      for (let i = 0; i + 8 <= all.length; i++) seen.add(all.slice(i, i + 8).join());
      return seen;
    };
    const heldOut = windows(split.validation);
    const touched = new Set<string>();
    for (let index = 0; index < 1500; index++) {
      const { tokens } = read(trainingCrops(manifest, shape, { epoch: index % 7, index }));
      for (let row = 0; row < tokens.length; row += shape.sequenceLength)
        for (const window of windows(tokens.subarray(row, row + shape.sequenceLength))) touched.add(window);
    }
    for (const window of touched) expect(heldOut.has(window)).toBe(false);
    const reachable = windows(split.train).size;
    expect(touched.size / reachable).toBeGreaterThan(0.95);
  });

  it("of the validation are a fixed list, spread evenly and without overlap", () => {
    const crops = validationCrops(manifest, shape.sequenceLength, 10);
    expect(crops).toHaveLength(10);
    expect(validationCrops(manifest, shape.sequenceLength, 10)).toEqual(crops);
    const all = validationCrops(manifest, shape.sequenceLength, 1e6);
    const positions = crops.map((crop) =>
      all.findIndex((other) => other.shard === crop.shard && other.offset === crop.offset),
    );
    for (const [i, position] of positions.entries())
      if (i > 0) expect(Math.abs(position - (positions[i - 1] ?? 0) - all.length / 10)).toBeLessThanOrEqual(1);
  });

  it("cannot be drawn from text shorter than a sequence", () => {
    expect(() => trainingCrops(manifest, { ...shape, sequenceLength: 5000 }, { epoch: 0, index: 0 })).toThrow(
      FailureError,
    );
    expect(() => validationCrops(manifest, 5000, 1)).toThrow(FailureError);
  });
});
