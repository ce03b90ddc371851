import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { decodeShard } from "../../compute/data/shard.ts";
import { presets } from "../../compute/model/presets.ts";
import { failureOf } from "../../protocol/failure.ts";
import { FileBlobStore } from "../../transport/blobs/file-blob-store.ts";
import { datasetBlobs, prepareDataset, readManifest } from "./prepare-dataset.ts";

const { model, training, tokenizer } = presets.tiny;
const sentence = "It was the best of times, it was the worst of times. ";

describe("a dataset", () => {
  let folder: string;
  let blobs: FileBlobStore;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "dataset-"));
    blobs = await FileBlobStore.open({ folder: join(folder, "blobs"), maxBlobBytes: 16 << 20 });
  });
  afterEach(() => rm(folder, { recursive: true }));

  const write = async (name: string, content: string | Uint8Array) => {
    const path = join(folder, name);
    await writeFile(path, content);
    return path;
  };
  const prepare = (dataPath: string | undefined) => prepareDataset({ dataPath, tokenizer, model, training }, blobs);
  const failureWith = async (dataPath: string) =>
    failureOf(
      await prepare(dataPath).then(
        () => undefined,
        (error) => error,
      ),
    );
  const textOf = async (shards: readonly { hash: Parameters<FileBlobStore["get"]>[0] }[]) => {
    const parts = await Promise.all(shards.map(async ({ hash }) => decodeShard(await blobs.get(hash))));
    return Buffer.concat(parts.map((part) => Uint8Array.from(part))).toString();
  };

  it("of the bundled text is English, in shards of at most 4 MiB, a twentieth of it held out", async () => {
    const manifest = await readManifest(await prepare(undefined), blobs);
    const shards = [...manifest.trainShards, ...manifest.validationShards];
    expect(Math.max(...shards.map(({ bytes }) => bytes))).toBeLessThanOrEqual(4 << 20);
    const tokens = (list: typeof shards) => list.reduce((sum, shard) => sum + shard.tokens, 0);
    expect(tokens(shards)).toBeGreaterThan(10e6);
    expect(tokens([...manifest.validationShards]) / tokens(shards)).toBeCloseTo(0.05, 3);
    const text = await textOf(manifest.trainShards.slice(0, 2));
    expect(text).toContain("Call me Ishmael.");
    expect(text.indexOf("Call me Ishmael.")).toBe(text.lastIndexOf("Call me Ishmael."));
  });

  it("is the same one when it is made again", async () => {
    const path = await write("own.txt", sentence.repeat(50));
    const ref = await prepare(path);
    expect(await prepare(path)).toEqual(ref);
    const manifest = await readManifest(ref, blobs);
    expect(datasetBlobs(ref, manifest).every((hash) => blobs.bytesOf(hash) !== undefined)).toBe(true);
  });

  it("is made of a person's own .txt, .jsonl, or a folder of both", async () => {
    const lines = [1, 2, 3].map((index) => JSON.stringify({ text: `${index} ${sentence.repeat(20)}`, source: "me" }));
    await mkdir(join(folder, "texts"));
    await write("texts/a.txt", sentence.repeat(20));
    await write("texts/b.jsonl", `${lines.join("\n")}\n\n`);
    await write("texts/c.pdf", "not text");
    const manifest = await readManifest(await prepare(join(folder, "texts")), blobs);
    const text = await textOf(manifest.trainShards);
    for (const beginning of ["It was", "1 It was", "2 It was", "3 It was"]) expect(text).toContain(beginning);
    expect(text).not.toContain("not text");
  });

  it.each([
    ["a file that is not there", "missing.txt", undefined, "file-unreadable", "There is no"],
    ["another kind of file", "book.pdf", "text", "dataset-invalid", "neither a .txt nor a .jsonl"],
    ["an empty file", "empty.txt", " \n", "dataset-invalid", "holds no text"],
    ["a text shorter than a sequence", "short.txt", "Once upon a time.", "dataset-invalid", "longer than a sequence"],
    ["bytes that are not UTF-8", "latin.txt", Uint8Array.of(0x63, 0x61, 0x66, 0xe9), "dataset-invalid", "not UTF-8"],
    ["a line that is not JSON", "a.jsonl", '{"text":"x"}\n{"text":', "dataset-invalid", "line 2 is not JSON"],
    [
      "a line without text",
      "b.jsonl",
      '{"text":"x"}\n\n{"words":"y"}',
      "dataset-invalid",
      'line 3 has no field "text"',
    ],
  ] as const)("is refused of %s, saying what is wrong and what to do", async (_, name, content, code, message) => {
    const path = content === undefined ? join(folder, name) : await write(name, content);
    const failure = await failureWith(path);
    expect(failure?.code).toBe(code);
    expect(failure?.message).toContain(message);
    expect(failure?.action).not.toBe("");
  });
});
