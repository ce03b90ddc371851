/** For tests: one miner's disk, in front of the network's store. */
import { FailureError, failureOf } from "../../protocol/failure.ts";
import { hashBytes } from "../../protocol/identity.ts";
import type { BlobHash, BlobRef } from "../../protocol/ids.ts";
import { type BlobSource, memorySource } from "../../transport/blob-serving.ts";
import type { BlobClient } from "../../transport/blobs/blob-client.ts";

export class FakeBlobs implements Pick<BlobClient, "get" | "bytesHere" | "put" | "keep" | "hold" | "forget"> {
  /** In the store. */
  readonly stored: Map<BlobHash, Uint8Array>;
  /** On the disk. */
  readonly kept = new Map<BlobHash, Uint8Array>();
  /** On the disk, as far as it was downloaded. */
  readonly begun = new Map<BlobHash, Uint8Array>();

  constructor(stored = new Map<BlobHash, Uint8Array>()) {
    this.stored = stored;
  }

  async get(ref: BlobRef, { elsewhere }: Parameters<BlobClient["get"]>[1] = {}): Promise<Uint8Array> {
    const bytes =
      this.kept.get(ref.hash) ?? (elsewhere && (await this.#from(ref, elsewhere))) ?? this.stored.get(ref.hash);
    if (bytes === undefined) throw new FailureError("blob-not-found", `no blob ${ref.hash}`);
    this.kept.set(ref.hash, bytes);
    this.begun.delete(ref.hash);
    return Uint8Array.from(bytes);
  }

  async bytesHere({ hash }: BlobRef): Promise<number> {
    return (this.kept.get(hash) ?? this.begun.get(hash))?.length ?? 0;
  }

  /** For tests: what was stored before they begin. */
  add(bytes: Uint8Array): BlobRef {
    const ref = { hash: hashBytes(bytes), bytes: bytes.length };
    this.stored.set(ref.hash, Uint8Array.from(bytes));
    return ref;
  }

  async put({ hash }: BlobRef, source: BlobSource): Promise<void> {
    this.stored.set(hash, Uint8Array.from(await source.read(0, source.bytes)));
  }

  async keep(bytes: Uint8Array) {
    const ref = { hash: hashBytes(bytes), bytes: bytes.length };
    const copy = Uint8Array.from(bytes);
    this.kept.set(ref.hash, copy);
    return { ref, source: memorySource(copy) };
  }

  async hold(bytes: Uint8Array) {
    return { ...(await this.keep(bytes)), release: () => undefined };
  }

  async forget(hashes: readonly BlobHash[]): Promise<void> {
    for (const hash of hashes) this.kept.delete(hash);
  }

  async #from(
    { hash }: BlobRef,
    elsewhere: NonNullable<NonNullable<Parameters<BlobClient["get"]>[1]>["elsewhere"]>,
  ): Promise<Uint8Array | undefined> {
    const begun = () => this.begun.get(hash) ?? new Uint8Array(0);
    try {
      return await elsewhere({
        read: async () => begun(),
        append: (bytes) => void this.begun.set(hash, Buffer.concat([begun(), bytes])),
        restart: () => void this.begun.delete(hash),
      });
    } catch (error) {
      if (failureOf(error) === undefined || failureOf(error)?.code === "cancelled") throw error;
      return undefined;
    }
  }
}
