/**
 * Blobs kept on this machine's disk under their hashes, up to a limit; those unused for longest go first. Half a download
 * lies beside them as `HASH.part`, so that it can be resumed.
 */
import { appendFile, mkdir, open, readdir, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { FailureError } from "../../protocol/failure.ts";
import { type BlobHash, type BlobRef, blobHashSchema } from "../../protocol/ids.ts";
import { hashFile, readAndHashFile } from "./hash-file.ts";

const hashLength = 64;
const ownFile = /^[0-9a-f]{64}(\.part)?$/;

export class BlobCache {
  readonly #folder: string;
  readonly #maxBytes: number;

  /** `folder` is created when missing. */
  constructor(folder: string, maxBytes: number) {
    this.#folder = folder;
    this.#maxBytes = maxBytes;
  }

  /** The blob's bytes, checked against its hash, or null. A damaged file is removed. */
  async read(ref: BlobRef): Promise<Uint8Array | null> {
    const path = this.#path(ref.hash);
    const found = await readAndHashFile(path).catch(nullWhenMissing);
    if (found === null) return null;
    if (found.hash !== ref.hash) {
      await rm(path, { force: true });
      return null;
    }
    const now = new Date();
    await utimes(path, now, now).catch(nullWhenMissing);
    return found.bytes;
  }

  async forget(hash: BlobHash): Promise<void> {
    await rm(this.#path(hash), { force: true });
  }

  /** Whether it is there, as far as its length tells. */
  async has(ref: BlobRef): Promise<boolean> {
    return (await stat(this.#path(ref.hash)).catch(nullWhenMissing))?.size === ref.bytes;
  }

  /** `length` bytes from `offset` on, unchecked. Rejects with `FailureError` (blob-not-found) when the blob has been forgotten. */
  async readPart(ref: BlobRef, offset: number, length: number): Promise<Uint8Array> {
    const file = await open(this.#path(ref.hash)).catch(nullWhenMissing);
    if (file === null) throw new FailureError("blob-not-found", `The blob ${ref.hash} is no longer in the cache.`);
    try {
      const bytes = Buffer.alloc(length);
      const { bytesRead } = await file.read(bytes, 0, length, offset);
      return bytes.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  }

  /** Keeps a blob that is at hand. Rejects with `FailureError` (disk-full). */
  async write(ref: BlobRef, bytes: Uint8Array, isInUse: (hash: BlobHash) => boolean): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    await writeFile(this.#partialPath(ref.hash), bytes).catch(explainFullDisk);
    await this.#complete(ref, isInUse);
  }

  /** How much of the blob has been downloaded, bytes. */
  async partialBytes(ref: BlobRef): Promise<number> {
    const partial = await stat(this.#partialPath(ref.hash)).catch(nullWhenMissing);
    if (partial === null) return 0;
    if (partial.size < ref.bytes) return partial.size;
    await this.dropPartial(ref);
    return 0;
  }

  /** What has been downloaded of the blob, from its beginning. */
  async readPartial(ref: BlobRef): Promise<Uint8Array> {
    const partial = await readAndHashFile(this.#partialPath(ref.hash)).catch(nullWhenMissing);
    if (partial !== null && partial.bytes.length <= ref.bytes) return partial.bytes;
    await this.dropPartial(ref);
    return new Uint8Array(0);
  }

  async append(ref: BlobRef, chunk: Uint8Array): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    await appendFile(this.#partialPath(ref.hash), chunk).catch(explainFullDisk);
  }

  async dropPartial(ref: BlobRef): Promise<void> {
    await rm(this.#partialPath(ref.hash), { force: true });
  }

  /**
   * Turns a complete download into a blob; rejects with `FailureError` (blob-corrupt) when it is something else. What is in use is
   * not forgotten for it.
   */
  async finish(ref: BlobRef, isInUse: (hash: BlobHash) => boolean): Promise<void> {
    if ((await hashFile(this.#partialPath(ref.hash))) !== ref.hash) {
      await this.dropPartial(ref);
      throw new FailureError("blob-corrupt", `what came is not the blob ${ref.hash}`, { retry: true });
    }
    await this.#complete(ref, isInUse);
  }

  async #complete(ref: BlobRef, isInUse: (hash: BlobHash) => boolean): Promise<void> {
    await rename(this.#partialPath(ref.hash), this.#path(ref.hash));
    await this.#evict((hash) => hash === ref.hash || isInUse(hash));
  }

  async #evict(isKept: (hash: BlobHash) => boolean): Promise<void> {
    const names = (await readdir(this.#folder)).filter((name) => ownFile.test(name));
    const files = await Promise.all(
      names.map(async (name) => ({ name, info: await stat(join(this.#folder, name)).catch(nullWhenMissing) })),
    );
    const present = files.flatMap(({ name, info }) => (info === null ? [] : [{ name, info }]));
    let totalBytes = present.reduce((sum, { info }) => sum + info.size, 0);
    present.sort((a, b) => a.info.mtimeMs - b.info.mtimeMs);
    for (const { name, info } of present) {
      if (totalBytes <= this.#maxBytes) return;
      if (isKept(blobHashSchema.parse(name.slice(0, hashLength)))) continue;
      await rm(join(this.#folder, name), { force: true });
      totalBytes -= info.size;
    }
  }

  #path(hash: BlobHash): string {
    return join(this.#folder, hash);
  }

  #partialPath(hash: BlobHash): string {
    return join(this.#folder, `${hash}.part`);
  }
}

function nullWhenMissing(error: NodeJS.ErrnoException): null {
  if (error.code === "ENOENT") return null;
  throw error;
}

function explainFullDisk(error: NodeJS.ErrnoException): never {
  if (error.code !== "ENOSPC") throw error;
  throw new FailureError("disk-full", "The disk is full.", { action: "Free some space.", cause: error });
}
