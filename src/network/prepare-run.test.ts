import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { byteModel } from "../../test/compute/small-model.ts";
import { exportFakeModel, fakeArchive } from "../../test/network/fake-archive.ts";
import { failureOf } from "../protocol/failure.ts";
import { FileBlobStore } from "../transport/blobs/file-blob-store.ts";
import { blobsFolder } from "./checkpoints/archive.ts";
import { createRun } from "./orchestrator/core/state.ts";
import { prepareRun } from "./prepare-run.ts";
import type { RunOptions } from "./run-options.ts";

describe("a run that goes on with a model", () => {
  let stateFolder: string;
  beforeEach(async () => {
    stateFolder = await mkdtemp(join(tmpdir(), "prepare-run-"));
    await writeFile(join(stateFolder, "text.txt"), "Call me Ishmael. Some years ago. ".repeat(100));
  });
  afterEach(() => rm(stateFolder, { recursive: true }));

  const prepare = async (options: Partial<RunOptions>) => {
    const blobs = await FileBlobStore.open({ folder: blobsFolder(stateFolder), maxBlobBytes: 1 << 20 });
    const data = join(stateFolder, "text.txt");
    return prepareRun({ preset: "tiny", replicas: 1, data, ...options }, { blobs, archive: { stateFolder } });
  };

  it("starts its epoch 0 from a checkpoint of the network, cut as it likes", async () => {
    const { manifest, weights } = await fakeArchive(stateFolder, { model: byteModel, stages: 2 });
    const from = manifest.hash.slice(0, 8);
    const definition = await prepare({ from, stages: 2 });
    expect(definition).toMatchObject({ from, name: `checkpoint ${from} on own text`, model: byteModel });
    const { epoch, tokens, checkpoint } = createRun(definition, 0);
    expect([epoch, tokens, checkpoint?.epoch]).toEqual([0, 0, 0]);
    expect(checkpoint?.stages.map((stage) => stage.weights)).toEqual(weights);
    expect((await prepare({ from, stages: 3 })).firstCheckpoint?.stages).toHaveLength(3);
  });

  it("starts from a folder, in no more stages than that model has layers, and with no longer sequences", async () => {
    const folder = await exportFakeModel(stateFolder, { model: { ...byteModel, layers: 2 }, stages: 2 });
    const { stages, training, firstCheckpoint } = await prepare({ from: folder });
    expect([stages, training.sequenceLength, firstCheckpoint?.stages.length]).toEqual([2, byteModel.context, 2]);
  });

  it.each([
    ["a checkpoint that there is not", { from: "0".repeat(64) }, "not-found"],
    ["a folder that there is not", { from: "nowhere/at-all" }, "file-unreadable"],
    ["more stages than the model has layers", { stages: 9 }, "invalid-option"],
  ] as const)("is refused with %s", async (_what, options, code) => {
    const from = await exportFakeModel(stateFolder);
    expect(await prepare({ from, ...options }).catch(failureOf)).toMatchObject({ code });
  });
});
