/** Averages partitions as the orchestrator asks for it, each once, and keeps the results for everybody. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { failureOf } from "../../protocol/failure.ts";
import type { GatewayMessage } from "../../protocol/gateway-messages.ts";
import { hashBytes } from "../../protocol/identity.ts";
import type { BlobHash, MinerId } from "../../protocol/ids.ts";
import { ownersPerPartition, type Partition, sliceListRef, slicesIn } from "../../protocol/partitions.ts";
import type { Offered } from "../../transport/blob-serving.ts";
import type { WantedBlob } from "../../transport/wanted-blob.ts";
import type { ComputeEngine } from "../compute-host/compute-worker.ts";
import { inOrderOfHope, type MergeScope, namingLiars, payloadLimitsOf } from "./merge-surroundings.ts";

export type ReduceOrder = Extract<GatewayMessage, { type: "reduce" }>;
export type ListedContribution = ReduceOrder["contributions"][number];

type SliceList = readonly (BlobHash | null)[];

/** Contributions as far as they are on this machine. */
export interface ContributionsHere {
  /** The hashes of a contribution's slices; null when they are not known. */
  slicesOf(contribution: ListedContribution): SliceList | null;
  sliceOf(contribution: ListedContribution, partition: Partition): Uint8Array | null;
}

export interface Averaged {
  readonly partition: number;
  /** Null: there was nothing to average. */
  readonly hash: BlobHash | null;
  readonly payload: Uint8Array | null;
  readonly outliers: readonly MinerId[];
  /** Indexes of the contributions that nobody handed out, ascending. */
  readonly missing: readonly number[];
}

/** Each of them asks everybody several times. */
const mostFetches = 2;

export class Reducer {
  readonly #scope: MergeScope;
  readonly #here: ContributionsHere;
  readonly #averaged = new Map<number, Promise<Averaged>>();
  readonly #done = new Map<number, Averaged>();
  readonly #lists = new Map<BlobHash, Promise<SliceList | null>>();
  /** Who was waited for in vain, be it the contributor: once, or it would make this replica late with all that it averages. */
  readonly #silent = new Set<MinerId>();
  readonly #offers: Offered[] = [];

  constructor(scope: MergeScope, here: ContributionsHere) {
    this.#scope = scope;
    this.#here = here;
  }

  /** A slice that this replica averaged, if it is this one. */
  result(partition: Partition, hash: BlobHash): Uint8Array | null {
    const averaged = this.#done.get(partition.index);
    return averaged?.hash === hash ? averaged.payload : null;
  }

  /** What was averaged of the partitions asked for, and who was left out. */
  async reduce({ partitions, contributions }: ReduceOrder, engine: ComputeEngine): Promise<readonly Averaged[]> {
    const asked = new Set(partitions);
    const results: Averaged[] = [];
    for (const partition of this.#scope.partitions) {
      if (!asked.has(partition.index)) continue;
      const averaging = this.#averaged.get(partition.index) ?? this.#average(partition, contributions, engine);
      this.#averaged.set(partition.index, averaging);
      results.push(await averaging);
      await nextTurn(); // hashing takes a while
    }
    return results;
  }

  release(): void {
    for (const offer of this.#offers) offer.withdraw();
  }

  async #average(
    { index, from, length, order }: Partition,
    listed: readonly ListedContribution[],
    engine: ComputeEngine,
  ): Promise<Averaged> {
    const { self, partitions, peerBlobs, signal } = this.#scope;
    const partition = partitions[index];
    if (partition === undefined) throw new Error(`no partition ${index}`);
    const contributions = await Promise.all(
      listed.map(async (one) => ({ tokens: one.tokens, payload: await this.#sliceOf(one, partition) })),
    );
    signal.throwIfAborted();
    const isOwner = order.slice(0, ownersPerPartition).includes(self);
    const own = isOwner ? listed.findIndex((one) => one.minerId === self && this.#here.slicesOf(one) !== null) : -1;
    const request = { from, length, contributions, own: own === -1 ? null : own };
    const { payload, outliers } = await engine.call("average", request);
    signal.throwIfAborted();
    const hash = payload && hashBytes(payload);
    if (payload !== null && hash !== null) this.#offers.push(peerBlobs.offer(payload, hash));
    const named = outliers.flatMap((outlier) => listed[outlier]?.minerId ?? []);
    const missing = contributions.flatMap((one, number) => (one.payload === null && one.tokens > 0 ? [number] : []));
    const averaged = { partition: index, hash, payload, outliers: named, missing };
    this.#done.set(index, averaged);
    return averaged;
  }

  /** From here, or from anyone who has it; null when nobody does. */
  async #sliceOf(contribution: ListedContribution, partition: Partition): Promise<Uint8Array | null> {
    if (contribution.tokens === 0) return null;
    const here = this.#here.sliceOf(contribution, partition);
    if (here !== null) return here;
    const slices = this.#here.slicesOf(contribution) ?? (await this.#listOf(contribution));
    const hash = slices?.[partition.index];
    if (!hash) return null;
    const ref = { hash, bytes: payloadLimitsOf(this.#scope, partition) };
    return this.#fetch(ref, [contribution.minerId, ...partition.order]);
  }

  /** The slices of a contribution whose offer did not arrive here. */
  #listOf({ manifest, minerId }: ListedContribution): Promise<SliceList | null> {
    const { partitions, replicas } = this.#scope;
    const fetchList = async () => {
      const bytes = await this.#fetch(sliceListRef(manifest, partitions.length), [minerId, ...replicas]);
      return bytes && slicesIn(bytes);
    };
    const list = this.#lists.get(manifest) ?? fetchList();
    this.#lists.set(manifest, list);
    return list;
  }

  /** Tries it again where somebody who lives is silent: a contributor with a bad link loses what it earned when it is said to be missing. */
  async #fetch(ref: WantedBlob, holders: readonly MinerId[]): Promise<Uint8Array | null> {
    const { peerBlobs, signal, isLive } = this.#scope;
    const onWrong = namingLiars(this.#scope);
    for (let attempt = 1; ; attempt++) {
      const answering = holders.filter((holder) => !this.#silent.has(holder));
      const silent: MinerId[] = [];
      const onSilent = (holder: MinerId) => silent.push(holder);
      try {
        return await peerBlobs.get(ref, inOrderOfHope(this.#scope, answering), { signal, onWrong, onSilent });
      } catch (error) {
        if (signal.aborted || failureOf(error) === undefined) throw error;
        if (attempt < mostFetches && silent.some(isLive)) continue;
        for (const holder of silent) this.#silent.add(holder);
        return null;
      }
    }
  }
}
