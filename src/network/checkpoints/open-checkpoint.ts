/** Reads an archived checkpoint from the state folder of a network, which may be running. */
import { createHash } from "node:crypto";
import { type FileHandle, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { stageLayout } from "../../compute/model/layout.ts";
import { FailureError } from "../../protocol/failure.ts";
import { hashBytes } from "../../protocol/identity.ts";
import type { BlobHash } from "../../protocol/ids.ts";
import { type ArchivedCheckpoint, blobsFolder } from "./archive.ts";
import { type CheckpointManifest, checkpointManifestSchema } from "./manifest.ts";
import { readFully, type StoredModel } from "./stored-model.ts";

export interface OpenCheckpoint extends StoredModel {
  readonly archived: ArchivedCheckpoint;
  readonly manifest: CheckpointManifest;
}

const hashPieceBytes = 8 << 20;

/**
 * Opens all files first: from then on the network may forget the checkpoint, the files stay until they are closed. Every
 * byte is checked against its hash before any is used. Rejects with `FailureError`: not-found when the checkpoint has been
 * forgotten, blob-corrupt, state-corrupt; and with the signal's reason.
 */
export async function openCheckpoint(
  stateFolder: string,
  archived: ArchivedCheckpoint,
  signal?: AbortSignal,
): Promise<OpenCheckpoint> {
  const folder = blobsFolder(stateFolder);
  const files: FileHandle[] = [];
  const close = async () => {
    await Promise.all(files.map((file) => file.close()));
  };
  try {
    for (const { hash } of archived.weights) files.push(await open(join(folder, hash)).catch(explainMissing));
    const manifest = await readManifest(folder, archived.manifest.hash);
    const places = new Map<string, { readonly file: FileHandle; readonly offset: number; readonly length: number }>();
    for (const [index, { spec, weights }] of manifest.stages.entries()) {
      const file = files[index];
      const layout = stageLayout(manifest.model, spec);
      if (file === undefined || weights.bytes !== 4 * layout.length)
        throw new FailureError("state-corrupt", `Stage ${index} of the checkpoint does not fit its model.`);
      await checkHash(file, weights.hash, signal);
      for (const { name, offset, length } of layout.tensors) places.set(name, { file, offset, length });
    }
    return {
      archived,
      manifest,
      model: manifest.model,
      tokenizer: manifest.tokenizer,
      async readTensor(name) {
        const place = places.get(name);
        if (place === undefined) throw new FailureError("state-corrupt", `The checkpoint has no ${name}.`);
        const values = new Float32Array(place.length);
        if (!(await readFully(place.file, new Uint8Array(values.buffer), 4 * place.offset)))
          throw new FailureError("state-corrupt", `The checkpoint's ${name} is cut short.`);
        return values;
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function readManifest(folder: string, hash: BlobHash): Promise<CheckpointManifest> {
  const bytes = await readFile(join(folder, hash)).catch(explainMissing);
  if (hashBytes(bytes) !== hash) throw damaged(hash);
  const parsed = checkpointManifestSchema.safeParse(JSON.parse(bytes.toString()));
  if (parsed.success) return parsed.data;
  throw new FailureError("state-corrupt", "The checkpoint's manifest is of another version of this program.", {
    action: "Use the version that wrote it, or another checkpoint.",
    cause: parsed.error,
  });
}

async function checkHash(file: FileHandle, expected: BlobHash, signal: AbortSignal | undefined): Promise<void> {
  const hash = createHash("sha256");
  const piece = new Uint8Array(hashPieceBytes);
  for (let position = 0; ; ) {
    signal?.throwIfAborted();
    const { bytesRead } = await file.read(piece, 0, piece.length, position);
    if (bytesRead === 0) break;
    hash.update(piece.subarray(0, bytesRead));
    position += bytesRead;
  }
  if (hash.digest("hex") !== expected) throw damaged(expected);
}

function damaged(hash: BlobHash): FailureError {
  return new FailureError("blob-corrupt", `The blob ${hash} was damaged on disk.`, {
    action: "Use another checkpoint.",
  });
}

function explainMissing(cause: NodeJS.ErrnoException): never {
  if (cause.code !== "ENOENT") throw cause;
  throw new FailureError("not-found", "The checkpoint has been forgotten meanwhile, to make room for newer ones.", {
    action: "tah run checkpoints lists those that there are; network serve --keep-checkpoints keeps more of them.",
    retry: true,
    cause,
  });
}
