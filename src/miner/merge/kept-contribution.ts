/**
 * Another replica's contribution, of which this one keeps the slices that it owns: from then on they count, whatever becomes of the
 * contributor, and others fetch them from here.
 */
import { failureOf } from "../../protocol/failure.ts";
import type { BlobHash, MinerId } from "../../protocol/ids.ts";
import { manifestOf, ownersPerPartition, type Partition, sliceListBytes } from "../../protocol/partitions.ts";
import type { Offered } from "../../transport/blob-serving.ts";
import { inOrderOfHope, type MergeScope, namingLiars, payloadLimitsOf } from "./merge-surroundings.ts";

/** Of one contributor on their way at once: slices are small when they are compressed, and requests take a while to get there. */
const slicesInFlight = 4;

export class KeptContribution {
  readonly manifest: BlobHash;
  readonly slices: readonly BlobHash[];
  readonly #contributor: MinerId;
  readonly #scope: MergeScope;
  readonly #kept = new Map<number, Uint8Array>();
  readonly #offers: Offered[] = [];
  /** A contributor may change its mind as often as it likes: what is fetched of it is its last word. */
  readonly #release = new AbortController();
  #keeping: Promise<boolean> | null = null;

  constructor(scope: MergeScope, contributor: MinerId, slices: readonly BlobHash[]) {
    this.#scope = scope;
    this.#contributor = contributor;
    this.slices = slices;
    this.manifest = manifestOf(slices);
    this.#offers.push(scope.peerBlobs.offer(sliceListBytes(slices), this.manifest));
  }

  /** Null unless it is here. */
  slice({ index }: Partition): Uint8Array | null {
    return this.#kept.get(index) ?? null;
  }

  /** Fetches what is missing; false when it could not be had, was given up, or somebody else waits for it already. */
  async keep(): Promise<boolean> {
    if (this.#keeping !== null) return false;
    this.#keeping = this.#fetchAll();
    try {
      return await this.#keeping;
    } finally {
      this.#keeping = null;
    }
  }

  /** Gives up what is on its way, and everything that is here. */
  release(): void {
    this.#release.abort();
    for (const offer of this.#offers) offer.withdraw();
    this.#kept.clear();
  }

  async #fetchAll(): Promise<boolean> {
    const signal = AbortSignal.any([this.#scope.signal, this.#release.signal]);
    const missing = this.#ownedByThis().values();
    const fetches = Array.from({ length: slicesInFlight }, () => this.#fetchEach(missing, signal));
    return (await Promise.all(fetches)).every((isComplete) => isComplete);
  }

  /** Each one after the other, taking turns with others that do the same. */
  async #fetchEach(partitions: Iterable<Partition>, signal: AbortSignal): Promise<boolean> {
    const { peerBlobs } = this.#scope;
    const onWrong = namingLiars(this.#scope);
    for (const partition of partitions) {
      const hash = this.slices[partition.index];
      if (hash === undefined || this.#kept.has(partition.index)) continue;
      const owners = partition.order.slice(0, ownersPerPartition);
      const holders = inOrderOfHope(this.#scope, [this.#contributor, ...owners]);
      const bytes = payloadLimitsOf(this.#scope, partition);
      try {
        const payload = await peerBlobs.get({ hash, bytes }, holders, { signal, onWrong });
        if (signal.aborted) return false;
        this.#kept.set(partition.index, payload);
        this.#offers.push(peerBlobs.offer(payload, hash));
      } catch (error) {
        if (failureOf(error) === undefined) throw error;
        return false; // the contributor offers it again, unless it is over
      }
    }
    return !signal.aborted;
  }

  #ownedByThis(): readonly Partition[] {
    const { partitions, self } = this.#scope;
    return partitions.filter(({ order }) => order.slice(0, ownersPerPartition).includes(self));
  }
}
