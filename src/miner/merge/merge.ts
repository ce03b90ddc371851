/**
 * One replica's part in one merge, as `docs/protocol.md` tells it: it contributes, keeps and averages the slices that it owns, and
 * takes the step on everybody's. It is in being from the first word about the merge until the replica is prepared for the next
 * epoch, because others may need what it has until then. All of it may be asked for again at any time.
 */
import type { Contribution, SliceRange } from "../../compute/worker-protocol.ts";
import type { BlobHash, MinerId } from "../../protocol/ids.ts";
import type { MergeMessage } from "../../protocol/merge-messages.ts";
import { manifestOf } from "../../protocol/partitions.ts";
import type { ComputeEngine } from "../compute-host/compute-worker.ts";
import { Applier, type ApplyOrder } from "./applier.ts";
import { KeptContribution } from "./kept-contribution.ts";
import type { MergeScope } from "./merge-surroundings.ts";
import { OwnContribution } from "./own-contribution.ts";
import { type ListedContribution, type ReduceOrder, Reducer } from "./reducer.ts";

type Offer = Extract<MergeMessage, { type: "offer" }>;

export class Merge {
  readonly #scope: MergeScope;
  readonly #reducer: Reducer;
  readonly #kept = new Map<MinerId, KeptContribution>();
  #own: OwnContribution | null = null;
  #applier: Applier | null = null;
  #isApplied = false;
  /** Whether this replica's contribution is among those that are merged, as far as it knows. */
  #isCounted = false;

  constructor(scope: MergeScope) {
    this.#scope = scope;
    this.#reducer = new Reducer(scope, {
      slicesOf: (contribution) => this.#holding(contribution)?.slices ?? null,
      sliceOf: (contribution, partition) => this.#holding(contribution)?.slice(partition) ?? null,
    });
  }

  /** What is contributed of, partition by partition. */
  get ranges(): readonly SliceRange[] {
    return this.#scope.partitions.map(({ from, length }) => ({ from, length }));
  }

  /** Offers what this replica brings, unless `signal` is aborted; resolves when it counts, whatever becomes of this replica. */
  async contribute(contribution: Contribution, signal: AbortSignal): Promise<BlobHash> {
    const own = await OwnContribution.of(this.#scope, contribution);
    if (signal.aborted) own.release();
    signal.throwIfAborted();
    this.#own = own;
    await own.keptByOwners();
    this.#isCounted = true;
    return own.manifest;
  }

  /** Another replica's word. What is not of this merge's replicas, or does not fit, is ignored. */
  async receive(from: MinerId, message: MergeMessage): Promise<void> {
    if (!this.#scope.replicas.includes(from) || this.#isApplied) return;
    if (message.type === "kept") this.#own?.keptBy(from, message.manifest);
    else if (message.slices.length === this.#scope.partitions.length) await this.#keep(from, message);
  }

  reduce(order: ReduceOrder, engine: ComputeEngine): ReturnType<Reducer["reduce"]> {
    this.#isCounted = order.contributions.some(
      (one) => one.minerId === this.#scope.self && this.#holding(one) !== null,
    );
    return this.#reducer.reduce(order, engine);
  }

  /** Null when an earlier call is under way: it takes what this order says into account. */
  async apply(order: ApplyOrder, engine: ComputeEngine): Promise<BlobHash | null> {
    if (this.#applier !== null) {
      this.#applier.update(order);
      return null;
    }
    this.#applier = new Applier(this.#scope, engine, order, (partition, hash) => this.#reducer.result(partition, hash));
    const weightsHash = await this.#applier.run(this.#isCounted);
    this.#isApplied = true;
    this.#releaseContributions();
    return weightsHash;
  }

  /** The roster changed, or there is a new link: what was waited for may be in vain, or may have been lost. */
  lookAgain(): void {
    this.#own?.announce();
  }

  release(): void {
    this.#releaseContributions();
    this.#reducer.release();
  }

  /** What was averaged is there for others even after this replica has its weights; what went into it is not. */
  #releaseContributions(): void {
    for (const contribution of [this.#own, ...this.#kept.values()]) contribution?.release();
    this.#own = null;
    this.#kept.clear();
  }

  async #keep(from: MinerId, { slices }: Offer): Promise<void> {
    const { place, tell } = this.#scope;
    const manifest = manifestOf(slices);
    let kept = this.#kept.get(from);
    if (kept?.manifest !== manifest) {
      kept?.release(); // it began anew, and contributes something else
      kept = new KeptContribution(this.#scope, from, slices);
      this.#kept.set(from, kept);
    }
    if (await kept.keep()) tell(from, { type: "kept", at: place.at, manifest });
  }

  #holding({ minerId, manifest }: ListedContribution): OwnContribution | KeptContribution | null {
    const holding = minerId === this.#scope.self ? this.#own : this.#kept.get(minerId);
    return holding?.manifest === manifest ? holding : null;
  }
}
