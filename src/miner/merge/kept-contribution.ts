/**
 * Another replica's contribution, of which this one keeps the slices that it owns: from then on they count, whatever becomes of the
 * contributor, and others fetch them from here.
 */
import { failureOf } from "../../protocol/failure.ts";
import { floatsOf } from "../../protocol/identity.ts";
import type { BlobHash, MinerId } from "../../protocol/ids.ts";
import { manifestOf, ownersPerPartition, type Partition } from "../../protocol/partitions.ts";
import type { Offered } from "../../transport/blob-serving.ts";
import { inOrderOfHope, type MergeScope, namingLiars } from "./merge-surroundings.ts";
import { offerManifest } from "./slice-manifest.ts";

export class KeptContribution {
  readonly manifest: BlobHash;
  readonly slices: readonly BlobHash[];
  readonly #contributor: MinerId;
  readonly #scope: MergeScope;
  readonly #kept = new Map<number, Float32Array>();
  readonly #offers: Offered[] = [];
  #keeping: Promise<boolean> | null = null;

  constructor(scope: MergeScope, contributor: MinerId, slices: readonly BlobHash[]) {
    this.#scope = scope;
    this.#contributor = contributor;
    this.slices = slices;
    this.manifest = manifestOf(slices);
    this.#offers.push(offerManifest(scope.peerBlobs, slices));
  }

  /** Null unless it is here. */
  slice({ index }: Partition): Float32Array | null {
    return this.#kept.get(index) ?? null;
  }

  /** Fetches what is missing; false when it could not be had, or somebody else waits for it already. */
  async keep(): Promise<boolean> {
    if (this.#keeping !== null) return false;
    this.#keeping = this.#fetchAll();
    try {
      return await this.#keeping;
    } finally {
      this.#keeping = null;
    }
  }

  release(): void {
    for (const offer of this.#offers) offer.withdraw();
  }

  async #fetchAll(): Promise<boolean> {
    const { partitions, peerBlobs, signal, self } = this.#scope;
    const onWrong = namingLiars(this.#scope);
    for (const partition of partitions) {
      const owners = partition.order.slice(0, ownersPerPartition);
      const hash = this.slices[partition.index];
      if (hash === undefined || !owners.includes(self) || this.#kept.has(partition.index)) continue;
      const holders = inOrderOfHope(this.#scope, [this.#contributor, ...owners]);
      try {
        const bytes = await peerBlobs.get({ hash, bytes: 4 * partition.length }, holders, { signal, onWrong });
        signal.throwIfAborted();
        this.#kept.set(partition.index, floatsOf(bytes));
        this.#offers.push(peerBlobs.offer(bytes, hash));
      } catch (error) {
        if (signal.aborted || failureOf(error) === undefined) throw error;
        return false; // the contributor offers it again
      }
    }
    return true;
  }
}
