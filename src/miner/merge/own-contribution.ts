/**
 * What this replica brings to the merge: the payloads of its slices, which the owners fetch. It is offered until every owner that
 * lives has all of its slices.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Contribution } from "../../compute/worker-protocol.ts";
import type { BlobHash, MinerId } from "../../protocol/ids.ts";
import { manifestOf, type Partition, sliceListBytes } from "../../protocol/partitions.ts";
import type { Offered } from "../../transport/blob-serving.ts";
import type { MergeScope } from "./merge-surroundings.ts";

/** An offer is small and may be lost: it is repeated at the pace of the owner's link, and more slowly each time … */
const pauseGrowth = 2;
/** … up to this. */
const longestPauseMs = 5000;

export class OwnContribution {
  readonly tokens: number;
  readonly manifest: BlobHash;
  readonly slices: readonly BlobHash[];
  readonly #payloads: readonly Uint8Array[];
  readonly #scope: MergeScope;
  readonly #offers: readonly Offered[];
  readonly #keptBy = new Set<MinerId>();
  readonly #kept = Promise.withResolvers<void>();
  /** By owner that has not answered: calls off what would be said next. */
  readonly #repetitions = new Map<MinerId, () => void>();

  private constructor(scope: MergeScope, { slices, tokens }: Contribution, offers: readonly Offered[]) {
    this.#scope = scope;
    this.#payloads = slices;
    this.tokens = tokens;
    this.slices = offers.map(({ ref }) => ref.hash);
    this.manifest = manifestOf(this.slices);
    this.#offers = [...offers, scope.peerBlobs.offer(sliceListBytes(this.slices), this.manifest)];
  }

  /** Hashes the slices one by one, so that other work gets in between. */
  static async of(scope: MergeScope, contribution: Contribution): Promise<OwnContribution> {
    const offers: Offered[] = [];
    for (const payload of contribution.slices) {
      offers.push(scope.peerBlobs.offer(payload));
      await nextTurn();
    }
    return new OwnContribution(scope, contribution, offers);
  }

  slice({ index }: Partition): Uint8Array | null {
    return this.#payloads[index] ?? null;
  }

  /** Resolves when every owner that lives has its slices. Nobody needs what is worth nothing. */
  async keptByOwners(): Promise<void> {
    if (this.tokens === 0) return;
    this.announce();
    await this.#kept.promise;
  }

  /** An owner has all its slices of what it calls by this name. */
  keptBy(owner: MinerId, manifest: BlobHash): void {
    if (manifest !== this.manifest) return;
    this.#keptBy.add(owner);
    this.#endRepetition(owner);
    if (this.#missing().length === 0) this.#kept.resolve();
  }

  /** Offers it to those who lack it, now and again until nobody does. */
  announce(): void {
    if (this.tokens === 0) return;
    for (const owner of [...this.#repetitions.keys()]) this.#endRepetition(owner);
    const missing = this.#missing();
    if (missing.length === 0) this.#kept.resolve();
    for (const owner of missing) this.#offerTo(owner, 0);
  }

  release(): void {
    for (const owner of [...this.#repetitions.keys()]) this.#endRepetition(owner);
    for (const offer of this.#offers) offer.withdraw();
  }

  /** `times`: how often it was offered in vain. */
  #offerTo(owner: MinerId, times: number): void {
    const { place, tell, clock, peerBlobs } = this.#scope;
    const pauseMs = Math.min(longestPauseMs, pauseGrowth ** times * peerBlobs.patienceMs(owner));
    const again = () => {
      this.#repetitions.delete(owner);
      if (this.#missing().includes(owner)) this.#offerTo(owner, times + 1);
      else if (this.#missing().length === 0) this.#kept.resolve();
    };
    this.#repetitions.set(owner, clock.after(pauseMs, again));
    tell(owner, { type: "offer", at: place.at, tokens: this.tokens, slices: this.slices });
  }

  #endRepetition(owner: MinerId): void {
    this.#repetitions.get(owner)?.();
    this.#repetitions.delete(owner);
  }

  /** Every listed replica is told: nearly all of them own something. */
  #missing(): readonly MinerId[] {
    const { replicas, self, isLive } = this.#scope;
    return replicas.filter((miner) => miner !== self && isLive(miner) && !this.#keptBy.has(miner));
  }
}
