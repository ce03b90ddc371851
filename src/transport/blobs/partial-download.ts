/** A blob that comes from elsewhere, on its way into the cache. It can be done without: when the disk takes no more, nothing is kept. */
import type { BlobHash, BlobRef } from "../../protocol/ids.ts";
import type { PartialBlob } from "../blob-parts.ts";
import type { BlobCache } from "./blob-cache.ts";

type PartialCache = Pick<BlobCache, "readPartial" | "append" | "dropPartial" | "finish">;

export class PartialDownload implements PartialBlob {
  readonly #cache: PartialCache;
  readonly #ref: BlobRef;
  #written: Promise<void> = Promise.resolve();
  #isGivenUp = false;

  constructor(cache: PartialCache, ref: BlobRef) {
    this.#cache = cache;
    this.#ref = ref;
  }

  read(): Promise<Uint8Array> {
    return this.#cache.readPartial(this.#ref);
  }

  append(bytes: Uint8Array): void {
    this.#next(() => this.#cache.append(this.#ref, bytes));
  }

  restart(): void {
    this.#next(() => this.#cache.dropPartial(this.#ref));
  }

  /** Resolves when all of it is on the disk, as far as that takes it. */
  async written(): Promise<void> {
    await this.#written;
  }

  /** The blob is whole. What is in use is not forgotten for it. */
  async finish(isInUse: (hash: BlobHash) => boolean): Promise<void> {
    this.#next(() => this.#cache.finish(this.#ref, isInUse));
    await this.#written;
  }

  /** One after the other: what is appended comes in order. */
  #next(write: () => Promise<void>): void {
    this.#written = this.#written.then(async () => {
      if (this.#isGivenUp) return;
      try {
        await write();
      } catch {
        // Whatever is wrong with the disk, the blob itself comes all the same.
        this.#isGivenUp = true;
        await this.#cache.dropPartial(this.#ref).catch(() => undefined);
      }
    });
  }
}
