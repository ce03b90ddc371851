/**
 * What this replica brings to the merge: its vector, cut into slices that the owners fetch. It is offered until every owner that
 * lives has all of its slices.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Contribution } from "../../compute/worker-protocol.ts";
import { bytesOf } from "../../protocol/identity.ts";
import type { BlobHash, MinerId } from "../../protocol/ids.ts";
import { manifestOf, type Partition } from "../../protocol/partitions.ts";
import type { Offered } from "../../transport/blob-serving.ts";
import type { MergeScope } from "./merge-surroundings.ts";
import { offerManifest } from "./slice-manifest.ts";

/** An offer is small, and may be lost. */
const repeatMs = 2000;

export class OwnContribution {
  readonly tokens: number;
  readonly manifest: BlobHash;
  readonly slices: readonly BlobHash[];
  readonly #values: Float32Array;
  readonly #scope: MergeScope;
  readonly #offers: readonly Offered[];
  readonly #keptBy = new Set<MinerId>();
  readonly #kept = Promise.withResolvers<void>();
  #cancelRepeat = () => {};

  private constructor(scope: MergeScope, { values, tokens }: Contribution, slices: readonly Offered[]) {
    this.#scope = scope;
    this.#values = values;
    this.tokens = tokens;
    this.slices = slices.map(({ ref }) => ref.hash);
    this.manifest = manifestOf(this.slices);
    this.#offers = [...slices, offerManifest(scope.peerBlobs, this.slices)];
  }

  /** Hashes the slices one by one, so that other work gets in between. */
  static async of(scope: MergeScope, contribution: Contribution): Promise<OwnContribution> {
    const slices: Offered[] = [];
    for (const partition of contribution.tokens === 0 ? [] : scope.partitions) {
      slices.push(scope.peerBlobs.offer(bytesOf(sliceOf(contribution.values, partition))));
      await nextTurn();
    }
    return new OwnContribution(scope, contribution, slices);
  }

  slice(partition: Partition): Float32Array {
    return sliceOf(this.#values, partition);
  }

  /** Resolves when every owner that lives has its slices. Nobody needs what is worth nothing. */
  async keptByOwners(): Promise<void> {
    if (this.tokens === 0) return;
    this.announce();
    await this.#kept.promise;
  }

  /** An owner has all its slices of what it calls by this name. */
  keptBy(owner: MinerId, manifest: BlobHash): void {
    if (manifest === this.manifest) this.#keptBy.add(owner);
    if (this.#missing().length === 0) this.#kept.resolve();
  }

  /** Offers it to those who lack it, now and again until nobody does. */
  announce(): void {
    if (this.tokens === 0) return;
    const { place, tell, clock } = this.#scope;
    this.#cancelRepeat();
    const missing = this.#missing();
    if (missing.length === 0) this.#kept.resolve();
    else this.#cancelRepeat = clock.after(repeatMs, () => this.announce());
    for (const owner of missing) tell(owner, { type: "offer", at: place.at, tokens: this.tokens, slices: this.slices });
  }

  release(): void {
    this.#cancelRepeat();
    for (const offer of this.#offers) offer.withdraw();
  }

  /** Every listed replica owns something. */
  #missing(): readonly MinerId[] {
    const { replicas, self, isLive } = this.#scope;
    return replicas.filter((miner) => miner !== self && isLive(miner) && !this.#keptBy.has(miner));
  }
}

function sliceOf(values: Float32Array, { from, length }: Partition): Float32Array {
  return values.subarray(from, from + length);
}
