/** A network's state folder with one checkpoint, whose weights nobody trained. */
import { join } from "node:path";
import { stageLayout } from "../../src/compute/model/layout.ts";
import { optimizerStateLength } from "../../src/compute/model/optimizer-state.ts";
import {
  type ArchivedCheckpoint,
  blobsFolder,
  CheckpointArchive,
  readArchive,
} from "../../src/network/checkpoints/archive.ts";
import { openCheckpoint } from "../../src/network/checkpoints/open-checkpoint.ts";
import { exportCheckpoint } from "../../src/network/hugging-face/export-checkpoint.ts";
import type { RunDefinition } from "../../src/network/orchestrator/core/definition.ts";
import { fakeDefinition } from "../../src/network/orchestrator/core/fake-swarm.ts";
import { createRun } from "../../src/network/orchestrator/core/state.ts";
import { bytesOf } from "../../src/protocol/identity.ts";
import { FileBlobStore } from "../../src/transport/blobs/file-blob-store.ts";
import { byteModel, randomWeights } from "../compute/small-model.ts";

export async function fakeArchive(
  stateFolder: string,
  part: Partial<RunDefinition> = {},
  epoch = 3,
): Promise<ArchivedCheckpoint> {
  const definition = fakeDefinition(part);
  const blobs = await FileBlobStore.open({ folder: blobsFolder(stateFolder), maxBlobBytes: 1 << 28 });
  const run = createRun(definition, 0);
  const stages = await Promise.all(
    run.stages.map(async ({ spec, parameters }) => ({
      weights: await blobs.put(bytesOf(randomWeights(definition.model, stageLayout(definition.model, spec)))),
      optimizer: await blobs.put(new Uint8Array(4 * optimizerStateLength(definition.training.mode, parameters))),
    })),
  );
  const archive = await CheckpointArchive.open({ stateFolder, blobs, log: (text) => console.info(text) });
  await archive.record({ ...run, epoch, checkpoint: { epoch, tokens: 1000 * epoch, stages } });
  const archived = (await readArchive(stateFolder)).at(-1);
  if (archived === undefined) throw new Error("nothing was archived");
  return archived;
}

/** A folder as `tah run export` writes it, of a model that nobody trained. Returns its path below `folder`. */
export async function exportFakeModel(folder: string, part: Partial<RunDefinition> = {}): Promise<string> {
  const { signal } = new AbortController();
  const stateFolder = join(folder, "exporter");
  const archived = await fakeArchive(stateFolder, { model: byteModel, ...part });
  const checkpoint = await openCheckpoint(stateFolder, archived);
  const model = join(folder, "model");
  await exportCheckpoint(checkpoint, { format: "hf", type: "f32", folder: model, signal, onProgress: () => undefined });
  await checkpoint.close();
  return model;
}
