import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { PublishedLlama } from "../../../test/compute/published-llama.ts";
import { randomTokens, smallModel, squeezedModel } from "../../../test/compute/small-model.ts";
import { fakeArchive } from "../../../test/network/fake-archive.ts";
import { openDevice } from "../../compute/device.ts";
import { createEngine } from "../../compute/engine.ts";
import { optimizerStateLength } from "../../compute/model/optimizer-state.ts";
import { presets } from "../../compute/model/presets.ts";
import { wholeModel } from "../../compute/model/stages.ts";
import { FailureError, failureOf } from "../../protocol/failure.ts";
import { hashBytes } from "../../protocol/identity.ts";
import { type ArchivedCheckpoint, blobsFolder } from "../checkpoints/archive.ts";
import { type OpenCheckpoint, openCheckpoint } from "../checkpoints/open-checkpoint.ts";
import { readStage } from "../checkpoints/stored-model.ts";
import { type ExportOptions, exportCheckpoint } from "./export-checkpoint.ts";
import { openModelFolder } from "./open-model.ts";

const never = new AbortController().signal;
const training = { ...presets.tiny.training, sequenceLength: smallModel.context };

describe("an exported checkpoint", () => {
  let folder: string;
  let archived: ArchivedCheckpoint;
  let checkpoint: OpenCheckpoint;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "export-"));
    archived = await fakeArchive(folder, { model: smallModel, training });
    checkpoint = await openCheckpoint(folder, archived);
  });
  afterEach(async () => {
    await checkpoint.close();
    await rm(folder, { recursive: true });
  });

  const exportTo = (name: string, options: Partial<ExportOptions> = {}) =>
    exportCheckpoint(checkpoint, {
      format: "hf",
      type: "f32",
      folder: join(folder, name),
      signal: never,
      onProgress: () => undefined,
      ...options,
    });
  const weightsOf = async (name: string) => {
    const model = await openModelFolder(join(folder, name), undefined);
    const weights = await readStage(model, wholeModel(model.model));
    await model.close();
    return { model: model.model, tokenizer: model.tokenizer, weights };
  };
  const failureFrom = (promise: Promise<unknown>) =>
    promise.then(
      () => undefined,
      (error: unknown) => failureOf(error),
    );

  it("has the loss that our engine gives it, where the files are read and computed as transformers does", async () => {
    await exportTo("model");
    const published = new PublishedLlama(join(folder, "model"));
    const engine = createEngine(openDevice);
    await engine.open({ backend: "reference", threads: 1, model: smallModel, stage: wholeModel(smallModel), training });
    const weights = await readStage(checkpoint, wholeModel(smallModel));
    await engine.load({ weights, optimizer: new Float32Array(optimizerStateLength(training.mode, weights.length)) });
    for (const name of ["first", "second", "third"]) {
      const tokens = randomTokens(smallModel, smallModel.context, name);
      const targets = randomTokens(smallModel, smallModel.context, `after ${name}`);
      const { lossSumNats } = await engine.evaluate({ tokens, targets, sequences: 1 });
      expect(published.lossSum(tokens, targets) / lossSumNats).toBeCloseTo(1, 10);
    }
    engine.close();
  });

  it("comes back as the same model, from one file and from several", async () => {
    const original = await readStage(checkpoint, wholeModel(smallModel));
    const { files } = await exportTo("one");
    expect(files.filter((name) => name.endsWith(".safetensors"))).toEqual(["model.safetensors"]);
    expect(await weightsOf("one")).toEqual({ model: smallModel, tokenizer: "bytes", weights: original });
    const split = await exportTo("several", { maxFileBytes: 5000 });
    expect(split.files.filter((name) => name.endsWith(".safetensors")).length).toBeGreaterThan(3);
    expect(await weightsOf("several")).toEqual(await weightsOf("one"));
  });

  it("takes half the room in bfloat16, and is off by a rounding", async () => {
    const original = await readStage(checkpoint, wholeModel(smallModel));
    expect((await exportTo("half", { type: "bf16" })).weightsBytes).toBe(2 * original.length);
    const { weights } = await weightsOf("half");
    const gaps = original.map((value, index) => Math.abs((weights[index] ?? Number.NaN) / value - 1));
    expect(gaps.reduce((a, b) => Math.max(a, b))).toBeLessThanOrEqual(2 ** -8);
    expect(gaps.some((gap) => gap > 0)).toBe(true);
  });

  it("says where it comes from, in words and as the manifest that names it", async () => {
    await exportTo("model");
    const card = await readFile(join(folder, "model", "README.md"), "utf8");
    expect(card).toContain(archived.manifest.hash);
    expect(card).toContain("Test run");
    expect(hashBytes(await readFile(join(folder, "model", "checkpoint-manifest.json")))).toBe(archived.manifest.hash);
  });

  it("can be the weights alone, under our own names", async () => {
    const { files } = await exportTo("weights", { format: "safetensors" });
    expect(files).toEqual(["model.safetensors", "checkpoint-manifest.json"]);
    const file = await readFile(join(folder, "weights", "model.safetensors"));
    expect(file.includes('"layers.2.feedForward.down"')).toBe(true);
  });

  it("of a model with bottlenecks has their weights under our own names, and is refused in a format without them", async () => {
    const squeezed = await fakeArchive(join(folder, "squeezed"), { model: squeezedModel, training, stages: 3 });
    const open = await openCheckpoint(join(folder, "squeezed"), squeezed);
    const common = { type: "f32", folder: join(folder, "model"), signal: never, onProgress: () => undefined } as const;
    expect(await failureFrom(exportCheckpoint(open, { ...common, format: "hf" }))).toMatchObject({
      code: "invalid-option",
      action: expect.stringContaining("safetensors"),
    });
    await exportCheckpoint(open, { ...common, format: "safetensors" });
    const file = await readFile(join(folder, "model", "model.safetensors"));
    expect(file.includes('"layers.1.bottleneck.encoder.down"')).toBe(true);
    expect(file.includes('"layers.2.bottleneck.decoder.gate"')).toBe(true);
    await open.close();
  });

  it("replaces nothing, and leaves nothing behind when it is cancelled", async () => {
    await mkdir(join(folder, "taken"));
    await writeFile(join(folder, "taken", "mine.txt"), "mine");
    expect(await failureFrom(exportTo("taken"))).toMatchObject({ code: "invalid-option" });
    const cancelling = new AbortController();
    const cancelled = exportTo("model", {
      signal: cancelling.signal,
      onProgress: () => cancelling.abort(new FailureError("cancelled", "enough")),
    });
    expect(await failureFrom(cancelled)).toMatchObject({ code: "cancelled" });
    expect(existsSync(join(folder, "model"))).toBe(false);
    expect((await readdir(folder)).filter((name) => name.includes(".part-"))).toEqual([]);
    await mkdir(join(folder, "empty"));
    await exportTo("empty");
    await mkdir(join(folder, "other"));
    expect((await stat(join(folder, "empty"))).mode).toBe((await stat(join(folder, "other"))).mode);
  });

  it("is read to its end even if the network forgets the checkpoint meanwhile", async () => {
    for (const { hash } of archived.weights) await rm(join(blobsFolder(folder), hash));
    await exportTo("model");
    const forgotten = openCheckpoint(folder, archived);
    expect(await failureFrom(forgotten)).toMatchObject({
      code: "not-found",
      message: expect.stringContaining("forgotten"),
    });
  });

  it("is not made of weights that were damaged on disk", async () => {
    const path = join(blobsFolder(folder), archived.weights[1]?.hash ?? "");
    await truncate(path, 100);
    expect(await failureFrom(openCheckpoint(folder, archived))).toMatchObject({ code: "blob-corrupt" });
  });
});
