/**
 * Blobs as files named by their hash, in one folder: the network's own store. A blob appears whole or not at all — written
 * beside its place, hashed on the way, synced, then renamed.
 */
import { createHash, randomUUID } from "node:crypto";
import { createReadStream, type ReadStream } from "node:fs";
import { mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { FailureError } from "../../protocol/failure.ts";
import { hashBytes } from "../../protocol/identity.ts";
import { type BlobHash, type BlobRef, blobHashSchema } from "../../protocol/ids.ts";
import { hashFile, readAndHashFile } from "./hash-file.ts";

const unfinishedSuffix = ".part";
/** Hashed and written at once: over a home's line an upload comes a few packets at a time. */
const pieceBytes = 256 << 10;

export interface FileBlobStoreOptions {
  /** Created when missing. */
  readonly folder: string;
  readonly maxBlobBytes: number;
}

interface StoredBlob {
  readonly bytes: number;
  /** The collection interval in which it was last put or asked for. */
  usedIn: number;
  /** Whether its bytes have its hash; null: not looked at since this process began. */
  intact: Promise<boolean> | null;
}

export class FileBlobStore {
  readonly #folder: string;
  #maxBlobBytes: number;
  readonly #blobs: Map<BlobHash, StoredBlob>;
  #interval = 0;
  #collection: Promise<void> = Promise.resolve();

  private constructor(options: FileBlobStoreOptions, blobs: Map<BlobHash, StoredBlob>) {
    this.#folder = options.folder;
    this.#maxBlobBytes = options.maxBlobBytes;
    this.#blobs = blobs;
  }

  /** Also clears away what an interrupted upload left behind. */
  static async open(options: FileBlobStoreOptions): Promise<FileBlobStore> {
    const { folder } = options;
    await mkdir(folder, { recursive: true });
    const blobs = new Map<BlobHash, StoredBlob>();
    for (const name of await readdir(folder)) {
      const hash = blobHashSchema.safeParse(name);
      if (hash.success) blobs.set(hash.data, { bytes: (await stat(join(folder, name))).size, usedIn: 0, intact: null });
      else if (name.endsWith(unfinishedSuffix)) await rm(join(folder, name), { force: true });
    }
    return new FileBlobStore(options, blobs);
  }

  get maxBlobBytes(): number {
    return this.#maxBlobBytes;
  }

  /** Larger blobs may come from now on. */
  raiseLimit(maxBlobBytes: number): void {
    this.#maxBlobBytes = Math.max(this.#maxBlobBytes, maxBlobBytes);
  }

  /** Its size; undefined when it is not there. Asking protects it from the next collection. */
  bytesOf(hash: BlobHash): number | undefined {
    const blob = this.#blobs.get(hash);
    if (blob !== undefined) blob.usedIn = this.#interval;
    return blob?.bytes;
  }

  /**
   * Whether it is there, and still what was put. Looked at once, before it is first given away: disks forget mostly while nobody
   * looks. A damaged one is removed, so that it can be put again.
   */
  async isIntact(hash: BlobHash): Promise<boolean> {
    const blob = this.#blobs.get(hash);
    if (blob === undefined) return false;
    blob.usedIn = this.#interval;
    blob.intact ??= this.#examine(hash);
    return blob.intact;
  }

  /** Streams the bytes from `start` to `end`, both inclusive. Throws `FailureError` (blob-not-found). */
  stream(hash: BlobHash, range?: { readonly start: number; readonly end: number }): ReadStream {
    if (this.bytesOf(hash) === undefined) throw notFound(hash);
    return createReadStream(this.#path(hash), range);
  }

  /** Rejects with `FailureError`: blob-not-found, or blob-corrupt when the file is no longer what was put. */
  async get(hash: BlobHash): Promise<Uint8Array> {
    if (this.bytesOf(hash) === undefined) throw notFound(hash);
    const { bytes, hash: found } = await readAndHashFile(this.#path(hash));
    if (found === hash) return bytes;
    await this.#discard(hash);
    throw new FailureError("blob-corrupt", `The blob ${hash} was damaged on disk.`);
  }

  async put(bytes: Uint8Array): Promise<BlobRef> {
    return this.receive(hashBytes(bytes), [bytes]);
  }

  /**
   * Stores what `source` yields under `hash`. Rejects with `FailureError` and leaves nothing behind: blob-corrupt when the
   * bytes have another hash, message-too-large, disk-full; and with the source's own error.
   */
  async receive(hash: BlobHash, source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<BlobRef> {
    const present = this.bytesOf(hash);
    if (present !== undefined && (await this.isIntact(hash))) return { hash, bytes: present };
    const unfinished = join(this.#folder, `${randomUUID()}${unfinishedSuffix}`);
    try {
      const bytes = await this.#write(unfinished, hash, source);
      await this.#collection; // A collection may be about to delete this very name.
      await rename(unfinished, this.#path(hash));
      await syncFolder(this.#folder);
      this.#blobs.set(hash, { bytes, usedIn: this.#interval, intact: Promise.resolve(true) });
      return { hash, bytes };
    } catch (error) {
      await rm(unfinished, { force: true });
      throw isDiskFull(error)
        ? new FailureError("disk-full", "The network's disk is full.", { action: "Free some space.", cause: error })
        : error;
    }
  }

  /**
   * Deletes what `keep` does not name, except for blobs used since the last collection: those may be about to be referred to.
   * Returns how many were deleted.
   */
  async collect(keep: ReadonlySet<BlobHash>): Promise<number> {
    const interval = this.#interval++;
    const garbage = [...this.#blobs].filter(([hash, blob]) => !keep.has(hash) && blob.usedIn < interval);
    for (const [hash] of garbage) this.#blobs.delete(hash);
    let deleted = 0;
    this.#collection = this.#collection.then(async () => {
      for (const [hash, blob] of garbage) {
        if (await this.#delete(hash)) deleted += 1;
        else this.#blobs.set(hash, blob); // The next collection tries again.
      }
    });
    await this.#collection;
    return deleted;
  }

  async #examine(hash: BlobHash): Promise<boolean> {
    const isIntact = await hashFile(this.#path(hash)).then((found) => found === hash, falseWhenUnreadable);
    if (!isIntact) await this.#discard(hash);
    return isIntact;
  }

  async #discard(hash: BlobHash): Promise<void> {
    this.#blobs.delete(hash);
    await rm(this.#path(hash), { force: true });
  }

  /** Whether the file is gone. On Windows one that is being read cannot be deleted. */
  async #delete(hash: BlobHash): Promise<boolean> {
    try {
      await rm(this.#path(hash), { force: true });
      return true;
    } catch (error) {
      if (error instanceof Error && "code" in error && (error.code === "EBUSY" || error.code === "EPERM")) return false;
      throw error;
    }
  }

  async #write(
    path: string,
    hash: BlobHash,
    source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): Promise<number> {
    const file = await open(path, "wx");
    try {
      const digest = createHash("sha256");
      let bytes = 0;
      for await (const piece of inPieces(source)) {
        bytes += piece.length;
        if (bytes > this.maxBlobBytes)
          throw new FailureError("message-too-large", `A blob larger than ${this.maxBlobBytes} bytes.`);
        digest.update(piece);
        await file.writeFile(piece);
      }
      if (digest.digest("hex") !== hash) throw new FailureError("blob-corrupt", `What came is not the blob ${hash}.`);
      await file.sync();
      return bytes;
    } finally {
      await file.close();
    }
  }

  #path(hash: BlobHash): string {
    return join(this.#folder, hash);
  }
}

/** The same bytes, with small chunks gathered: a piece is overwritten by the next one. */
async function* inPieces(source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const piece = new Uint8Array(pieceBytes);
  let filled = 0;
  for await (const chunk of source) {
    if (filled > 0 && filled + chunk.length > pieceBytes) {
      yield piece.subarray(0, filled);
      filled = 0;
    }
    if (chunk.length > pieceBytes) yield chunk;
    else {
      piece.set(chunk, filled);
      filled += chunk.length;
    }
  }
  if (filled > 0) yield piece.subarray(0, filled);
}

/** Makes a rename durable. Windows has no such call for folders, and no need of it. */
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await open(folder, "r");
  await handle.sync().finally(() => handle.close());
}

function notFound(hash: BlobHash): FailureError {
  return new FailureError("blob-not-found", `There is no blob ${hash}.`);
}

/** A disk that no longer reads a file has lost it. */
function falseWhenUnreadable(error: NodeJS.ErrnoException): boolean {
  if (error.code === "ENOENT" || error.code === "EIO") return false;
  throw error;
}

function isDiskFull(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOSPC";
}
