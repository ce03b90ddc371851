/** A model that the demo trained, as other programs see it. */
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { demoFolderName } from "../../src/cli/demo/demo-folder.ts";
import { exitCodeOf, exitCodes } from "../../src/cli/exit-codes.ts";
import { orchestratorFolderName } from "../../src/cli/network-folders.ts";
import { demoResultSchema, outputSchemas } from "../../src/cli/output-schemas.ts";
import { validationCrops } from "../../src/compute/data/samples.ts";
import { decodeShard } from "../../src/compute/data/shard.ts";
import { loadTokenizer } from "../../src/compute/data/tokenizer.ts";
import { demosFolderName } from "../../src/miner/find-daemon.ts";
import { blobsFolder } from "../../src/network/checkpoints/archive.ts";
import { checkpointManifestSchema } from "../../src/network/checkpoints/manifest.ts";
import { readManifest } from "../../src/network/dataset/prepare-dataset.ts";
import { FileBlobStore } from "../../src/transport/blobs/file-blob-store.ts";
import { PublishedLlama } from "../compute/published-llama.ts";
import { temporaryFolder } from "../contract/local-api-world.ts";
import { jsonResult, runTahProcess } from "./captured-streams.ts";
import { DemoProcess } from "./demo-process.ts";
import { askTransformers, named, skipReason } from "./python-transformers.ts";

/** As many as the evaluator measures. */
const sequences = 16;
const tolerance = 0.001;
const network = demoFolderName({ preset: "tiny", stages: 2, replicas: 1 });
const text = "Call me Ishmael. Größe 鯨 🐋\n\ttwo  spaces";

const state = temporaryFolder();
const stateFolder = join(state, demosFolderName, network, orchestratorFolderName);
const folder = join(state, "model");
const tah = (...args: readonly string[]) => runTahProcess("run", ...args, "--state", state);

beforeAll(async () => {
  const size = ["--preset", "tiny", "--stages", "2", "--replicas", "1", "--tokens", "3000"];
  const { exitCode, stderr } = await new DemoProcess(state, network, size).ended;
  expect(exitCode, stderr).toBe(exitCodes.ok);
  expect(await tah("export", "--out", folder)).toMatchObject({ exitCode: exitCodes.ok });
}, 120_000);
afterAll(() => rmSync(state, { recursive: true, force: true }));

/** What the evaluator measured the last checkpoint on. */
async function validationSample() {
  const blobs = await FileBlobStore.open({ folder: blobsFolder(stateFolder), maxBlobBytes: 1 << 30 });
  const { dataset, training } = checkpointManifestSchema.parse(
    JSON.parse(readFileSync(join(folder, "checkpoint-manifest.json"), "utf8")),
  );
  const crops = validationCrops(await readManifest(dataset, blobs), training.sequenceLength, sequences);
  const cut = async (shift: number) =>
    Promise.all(
      crops.map(async ({ shard, offset }) => [
        ...decodeShard(await blobs.get(shard)).subarray(offset + shift, offset + shift + training.sequenceLength),
      ]),
    );
  return { tokens: await cut(0), targets: await cut(1) };
}

async function newestCheckpoint() {
  const { checkpoints } = outputSchemas["run checkpoints"].parse(jsonResult(await tah("checkpoints", "--json")));
  return checkpoints.at(-1) ?? expect.fail("there is no checkpoint");
}

describe("a model that the demo trained", () => {
  it("is listed with its losses, and exported with the loss that the network measured", async () => {
    const { validationLossNats, trainLossNats } = await newestCheckpoint();
    expect(trainLossNats).toBeLessThan(5.5);
    const { tokens, targets } = await validationSample();
    const model = new PublishedLlama(folder);
    const lossSum = tokens.reduce((sum, row, index) => sum + model.lossSum(row, targets[index] ?? []), 0);
    const lossNats = lossSum / tokens.flat().length;
    expect(Math.abs(lossNats / (validationLossNats ?? Number.NaN) - 1)).toBeLessThan(tolerance);
  });

  it.skipIf(skipReason !== undefined)(
    named("is loaded by transformers with the same loss, the same logits and the same tokens"),
    { timeout: 120_000 },
    async () => {
      const { validationLossNats } = await newestCheckpoint();
      const sample = await validationSample();
      const answer = askTransformers({ folder, create: null, ...sample, text });
      const lossNats = answer.lossSumNats / sample.tokens.flat().length;
      console.info(`transformers ${answer.version}: ${lossNats} nats, the network's evaluator: ${validationLossNats}`);
      expect(Math.abs(lossNats / (validationLossNats ?? Number.NaN) - 1)).toBeLessThan(tolerance);
      const expected = new PublishedLlama(folder).logits(sample.tokens[0] ?? []).at(-1) ?? [];
      for (const [token, logit] of answer.logits.entries()) expect(logit).toBeCloseTo(expected[token] ?? Number.NaN, 3);
      expect(answer.ids).toEqual([...(await loadTokenizer("bytes")).encode(text)]);
      expect(answer.decoded).toBe(text);
    },
  );

  it.each([
    ["checkpoints", "of all runs", []],
    ["checkpoints", "of one run", ["tiny"]],
    ["export", "in bfloat16", ["--out", join(state, "again"), "--dtype", "bf16"]],
    ["sample", "from a checkpoint", ["--prompt", "Call me ", "--tokens", "20"]],
  ] as const)("run %s, %s, prints one JSON object of the documented shape", async (name, _what, args) => {
    const printed = await tah(name, ...args, "--json");
    expect(printed.exitCode, printed.stderr).toBe(exitCodes.ok);
    z.strictObject({ result: outputSchemas[`run ${name}`] }).parse({ result: jsonResult(printed) });
    expect(printed.stdout.trimEnd().split("\n")).toHaveLength(1);
  });

  it("writes the same text from its checkpoint and from its export, and other text from another seed", async () => {
    const write = async (...args: readonly string[]) =>
      (await tah("sample", "--prompt", "The whale ", "--tokens", "60", ...args)).stdout;
    const written = await write();
    expect(written.startsWith("The whale ")).toBe(true);
    expect(written.length).toBeGreaterThan("The whale ".length + 10);
    expect(await write("--from", folder)).toBe(written);
    expect(await write("--seed", "2")).not.toBe(written);
  });

  it("is what another run begins with, and goes on learning", { timeout: 120_000 }, async () => {
    const { validationLossNats } = await newestCheckpoint();
    const run = { preset: "tiny", stages: 1, replicas: 1, from: folder } as const;
    const size = ["--preset", "tiny", "--stages", "1", "--replicas", "1", "--tokens", "2000", "--from", folder];
    const { stdout, stderr, exitCode } = await new DemoProcess(join(state, "another"), demoFolderName(run), size).ended;
    expect(exitCode, stderr).toBe(exitCodes.ok);
    const result = demoResultSchema.parse(jsonResult({ stdout }));
    expect(result.firstValidationLossNats).toBeCloseTo(validationLossNats ?? Number.NaN, 4);
    expect(result.validationLossNats).toBeLessThan(validationLossNats ?? 0);
  });

  it.each([
    ["a run that is not there", ["checkpoints", "other"], "not-found"],
    ["a checkpoint that is not there", ["export", "--checkpoint", "00000000", "--out", join(state, "x")], "not-found"],
    ["a folder that is taken", ["export", "--out", folder], "invalid-option"],
    ["a prompt that is empty", ["sample", "--prompt", ""], "invalid-option"],
    ["a folder without a model", ["sample", "--prompt", "a", "--from", stateFolder], "file-unreadable"],
  ] as const)("says what is wrong with %s", async (_what, args, code) => {
    const result = await tah(...args, "--json");
    expect(result.exitCode).toBe(exitCodeOf(code));
    expect(jsonResult(result)).toMatchObject({ failure: { code } });
    expect(existsSync(join(state, "x"))).toBe(false);
  });
});
