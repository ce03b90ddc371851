import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { failureOf } from "../../protocol/failure.ts";
import type { Checkpoint } from "../../protocol/run-view.ts";
import { FileBlobStore } from "../../transport/blobs/file-blob-store.ts";
import { fakeDefinition, fakeHash } from "../orchestrator/core/fake-swarm.ts";
import { createRun, type RunState } from "../orchestrator/core/state.ts";
import { CheckpointArchive, readArchive } from "./archive.ts";
import { checkpointManifestSchema, manifestBytes } from "./manifest.ts";

const definition = fakeDefinition();
const blob = (text: string) => ({ hash: fakeHash(text), bytes: 10 });

function stateAt(epoch: number, content = `epoch ${epoch}`): RunState {
  const checkpoint: Checkpoint = {
    epoch,
    tokens: epoch * 1000,
    stages: [0, 1, 2].map((stage) => ({
      weights: blob(`weights ${content} ${stage}`),
      optimizer: blob(`optimizer ${content} ${stage}`),
    })),
  };
  const ended = {
    tokens: epoch * 1000,
    trainLossNats: 2.5,
    finishedAtMs: 77,
    durationMs: 1,
    contributors: 6,
    partitionsLost: 0,
  };
  return { ...createRun(definition, 0), epoch, checkpoint, epochs: [{ ...ended, epoch: epoch - 1 }] };
}

describe("the archive of checkpoints", () => {
  let folder: string;
  let blobs: FileBlobStore;
  let logged: string[];
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "archive-"));
    blobs = await FileBlobStore.open({ folder: join(folder, "blobs"), maxBlobBytes: 1 << 20 });
    logged = [];
  });
  afterEach(() => rm(folder, { recursive: true }));
  const open = () => CheckpointArchive.open({ stateFolder: folder, blobs, log: (text) => logged.push(text) });

  it("names a checkpoint by its manifest, which says all about it and which one came before", async () => {
    const archive = await open();
    for (const epoch of [1, 2]) await archive.record(stateAt(epoch));
    const [first, second] = await readArchive(folder);
    expect(second).toMatchObject({ epoch: 2, tokens: 2000, recordedAtMs: 77, trainLossNats: 2.5 });
    const text = Buffer.from(await blobs.get(second?.manifest.hash ?? fakeHash(""))).toString();
    const manifest = checkpointManifestSchema.parse(JSON.parse(text));
    expect(manifest).toMatchObject({ runId: "test-run", model: definition.model, parent: first?.manifest.hash });
    expect(manifest.stages.map(({ weights }) => weights)).toEqual(second?.weights);
    expect(Buffer.from(manifestBytes(manifest)).toString()).toBe(text);
    expect(text.startsWith('{"dataset":{"bytes":1,')).toBe(true);
  });

  it("has nothing to record before the first checkpoint, and records each once, also after a restart", async () => {
    const archive = await open();
    await archive.record(createRun(definition, 0));
    await archive.record(stateAt(1));
    await archive.record(stateAt(1));
    const again = await open();
    await again.record(stateAt(1));
    expect(await readArchive(folder)).toHaveLength(1);
    expect(again.blobs).toEqual(archive.blobs);
  });

  it("leaves behind what came after the checkpoint that a run went back to", async () => {
    const archive = await open();
    for (const epoch of [1, 2, 3]) await archive.record(stateAt(epoch));
    const [first, second] = await readArchive(folder);
    await archive.record(stateAt(2));
    expect(await readArchive(folder)).toEqual([first, second]);
    await archive.record(stateAt(2, "another way"));
    expect(await readArchive(folder)).toMatchObject([
      { epoch: 1 },
      { epoch: 2, weights: [blob("weights another way 0"), {}, {}] },
    ]);
  });

  it("names the blobs to keep: the manifests and weights of all, the optimizer state of the last two", async () => {
    const archive = await open();
    for (const epoch of [1, 2, 3]) await archive.record(stateAt(epoch));
    expect(archive.blobs).toHaveLength(3 * (1 + 3) + 2 * 3);
    expect(archive.blobs).toContain(fakeHash("weights epoch 1 0"));
    expect(archive.blobs).not.toContain(fakeHash("optimizer epoch 1 0"));
  });

  it("remembers what a checkpoint was worth, and forgets the checkpoints of a run that was deleted", async () => {
    const archive = await open();
    await archive.record(stateAt(1));
    const evaluation = { epoch: 1, tokens: 1000, validationLossNats: 2.25, validationTokens: 64, sample: null };
    await archive.noteEvaluation(definition.runId, evaluation);
    expect(await readArchive(folder)).toMatchObject([{ validationLossNats: 2.25 }]);
    await archive.forgetRun(definition.runId);
    expect(await readArchive(folder)).toEqual([]);
  });

  it("says so when the disk is full, and goes on with the next checkpoint", async () => {
    const archive = await open();
    const put = blobs.put.bind(blobs);
    blobs.put = () => Promise.reject(Object.assign(new Error("no space left"), { code: "ENOSPC" }));
    await archive.record(stateAt(1));
    blobs.put = put;
    await archive.record(stateAt(2));
    expect(logged).toEqual(["The disk is full: a checkpoint could not be archived."]);
    expect(await readArchive(folder)).toMatchObject([{ epoch: 2 }]);
  });

  it("that was damaged is not taken for an empty one", async () => {
    await writeFile(join(folder, "checkpoints.json"), '{"version":1,"checkpoints":[{"epoch":1}]}');
    const failure = await open().catch(failureOf);
    expect(failure).toMatchObject({ code: "state-corrupt", action: expect.stringContaining("Remove it") });
    expect(await readFile(join(folder, "checkpoints.json"), "utf8")).toContain('"epoch":1');
  });
});
