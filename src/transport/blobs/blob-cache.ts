/**
 * Blobs kept on this machine's disk under their hashes, up to a limit; those unused for longest go first. Half a download
 * lies beside them as `HASH.part`, so that it can be resumed, and what is being written as `HASH.new`.
 */
import { appendFile, mkdir, open, readdir, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { FailureError } from "../../protocol/failure.ts";
import { type BlobHash, type BlobRef, blobHashSchema } from "../../protocol/ids.ts";
import { hashFile, readAndHashFile } from "./hash-file.ts";

const hashLength = 64;
const ownFile = /^[0-9a-f]{64}(\.part|\.new)?$/;
/** Of the limit; free once room had to be made, so that not every small blob that comes has all others looked through. */
const freedShare = 1 / 16;

export class BlobCache {
  readonly #folder: string;
  readonly #maxBytes: number;
  readonly #writing = new Map<BlobHash, Promise<void>>();
  /** The same blob may be held twice. */
  readonly #holds = new Set<{ readonly hash: BlobHash }>();
  /** What lies here and is not held takes no more than this. */
  #mostBytes = Number.POSITIVE_INFINITY;

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

  /** How much of it is there, bytes: all of it, as far as its length tells, or what has been downloaded. */
  async bytesHere(ref: BlobRef): Promise<number> {
    const whole = await stat(this.#path(ref.hash)).catch(nullWhenMissing);
    if (whole?.size === ref.bytes) return ref.bytes;
    const partial = await stat(this.#partialPath(ref.hash)).catch(nullWhenMissing);
    return partial === null || partial.size > ref.bytes ? 0 : partial.size;
  }

  /** Until the returned function is called, the blob is not forgotten to make room, and does not count towards the limit. */
  hold(hash: BlobHash): () => void {
    const hold = { hash };
    this.#holds.add(hold);
    return () => {
      if (this.#holds.delete(hold)) this.#mostBytes = Number.POSITIVE_INFINITY;
    };
  }

  /**
   * `length` bytes from `offset` on, unchecked. Rejects with `FailureError` (blob-not-found) when the blob has been forgotten, or the
   * disk does not read it: peers ask for it, and have no part in what is wrong here.
   */
  async readPart(ref: BlobRef, offset: number, length: number): Promise<Uint8Array> {
    const gone = (cause: unknown): never => {
      throw new FailureError("blob-not-found", `The blob ${ref.hash} is no longer in the cache.`, { cause });
    };
    const file = await open(this.#path(ref.hash)).catch(gone);
    try {
      const bytes = Buffer.alloc(length);
      const { bytesRead } = await file.read(bytes, 0, length, offset).catch(gone);
      return bytes.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  }

  /**
   * Keeps a blob that is at hand; one that is being written already is not written again. Rejects with `FailureError`: disk-full, or
   * file-unreadable when the disk takes nothing for another reason.
   */
  async write(ref: BlobRef, bytes: Uint8Array, isInUse: (hash: BlobHash) => boolean): Promise<void> {
    const { hash } = ref;
    const writing =
      this.#writing.get(hash) ?? this.#write(ref, bytes, isInUse).finally(() => this.#writing.delete(hash));
    this.#writing.set(hash, writing);
    await writing;
  }

  async #write(ref: BlobRef, bytes: Uint8Array, isInUse: (hash: BlobHash) => boolean): Promise<void> {
    const path = join(this.#folder, `${ref.hash}.new`);
    this.#mostBytes += bytes.length;
    try {
      await mkdir(this.#folder, { recursive: true });
      await writeFile(path, bytes);
      await this.#complete(path, ref, isInUse);
    } catch (error) {
      await rm(path, { force: true }).catch(() => undefined);
      throw explained(error);
    }
  }

  /**
   * Forgets what was unused for longest, down to below the limit, if there is more; never what is held, in use or being written. Half
   * downloads count, and go as well: they may never be finished.
   */
  async makeRoom(isInUse: (hash: BlobHash) => boolean): Promise<void> {
    if (this.#mostBytes <= this.#maxBytes) return;
    this.#mostBytes = 0; // what comes meanwhile is added, and may be counted twice
    const held = new Set([...this.#holds].map(({ hash }) => hash));
    const files = (await this.#files()).filter(({ hash }) => !held.has(hash));
    let totalBytes = files.reduce((sum, { bytes }) => sum + bytes, 0);
    const mostLeft = totalBytes > this.#maxBytes ? (1 - freedShare) * this.#maxBytes : totalBytes;
    for (const { path, hash, bytes } of files.toSorted((a, b) => a.usedMs - b.usedMs)) {
      if (totalBytes <= mostLeft) break;
      if (isInUse(hash) || this.#writing.has(hash)) continue;
      await rm(path, { force: true });
      totalBytes -= bytes;
    }
    this.#mostBytes += totalBytes;
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
    this.#mostBytes += chunk.length;
    try {
      await mkdir(this.#folder, { recursive: true });
      await appendFile(this.#partialPath(ref.hash), chunk);
    } catch (error) {
      throw explained(error);
    }
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
    await this.#complete(this.#partialPath(ref.hash), ref, isInUse);
  }

  async #complete(path: string, { hash }: BlobRef, isInUse: (hash: BlobHash) => boolean): Promise<void> {
    await rename(path, this.#path(hash));
    await this.makeRoom((other) => other === hash || isInUse(other));
  }

  async #files() {
    const names = (await readdir(this.#folder).catch(nullWhenMissing)) ?? [];
    const files = names
      .filter((name) => ownFile.test(name))
      .map(async (name) => {
        const path = join(this.#folder, name);
        const hash = blobHashSchema.parse(name.slice(0, hashLength));
        const info = await stat(path).catch(nullWhenMissing);
        return info === null ? [] : [{ path, hash, bytes: info.size, usedMs: info.mtimeMs }];
      });
    return (await Promise.all(files)).flat();
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

/** What the file system refused, as a failure; anything else as it is. */
function explained(error: unknown): unknown {
  if (!(error instanceof Error) || !("code" in error)) return error;
  if (error.code === "ENOSPC")
    return new FailureError("disk-full", "The disk is full.", { action: "Free some space.", cause: error });
  const action = "Look after the disk, and the rights to the state folder.";
  return new FailureError("file-unreadable", `A blob cannot be written: ${error.message}`, { action, cause: error });
}
