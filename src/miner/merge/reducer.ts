/** Averages partitions as the orchestrator asks for it, each once, and keeps the results for everybody. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { averageSlices } from "../../compute/merge/average-slices.ts";
import { failureOf } from "../../protocol/failure.ts";
import { bytesOf, floatsOf, hashBytes } from "../../protocol/identity.ts";
import type { BlobHash, BlobRef, MinerId } from "../../protocol/ids.ts";
import type { GatewayMessage } from "../../protocol/messages.ts";
import type { Partition } from "../../protocol/partitions.ts";
import type { Offered } from "../../transport/blob-serving.ts";
import { inOrderOfHope, type MergeScope, namingLiars } from "./merge-surroundings.ts";
import { manifestRef, slicesIn } from "./slice-manifest.ts";

export type ReduceOrder = Extract<GatewayMessage, { type: "reduce" }>;
export type ListedContribution = ReduceOrder["contributions"][number];

/** Contributions as far as they are on this machine. */
export interface ContributionsHere {
  /** The hashes of a contribution's slices; null when they are not known. */
  slicesOf(contribution: ListedContribution): readonly BlobHash[] | null;
  sliceOf(contribution: ListedContribution, partition: Partition): Float32Array | null;
}

interface Averaged {
  readonly partition: number;
  /** Null: there was nothing to average. */
  readonly hash: BlobHash | null;
  readonly values: Float32Array | null;
  readonly outliers: readonly MinerId[];
}

export class Reducer {
  readonly #scope: MergeScope;
  readonly #here: ContributionsHere;
  readonly #averaged = new Map<number, Promise<Averaged>>();
  readonly #done = new Map<number, Averaged>();
  readonly #lists = new Map<BlobHash, Promise<readonly BlobHash[] | null>>();
  readonly #offers: Offered[] = [];

  constructor(scope: MergeScope, here: ContributionsHere) {
    this.#scope = scope;
    this.#here = here;
  }

  /** A slice that this replica averaged, if it is this one. */
  result(partition: Partition, hash: BlobHash): Float32Array | null {
    const averaged = this.#done.get(partition.index);
    return averaged?.hash === hash ? averaged.values : null;
  }

  /** What was averaged of the partitions asked for, and who was left out. */
  async reduce({ partitions, contributions }: ReduceOrder): Promise<readonly Averaged[]> {
    const asked = new Set(partitions);
    const results: Averaged[] = [];
    for (const partition of this.#scope.partitions) {
      if (!asked.has(partition.index)) continue;
      const averaging = this.#averaged.get(partition.index) ?? this.#average(partition, contributions);
      this.#averaged.set(partition.index, averaging);
      results.push(await averaging);
      await nextTurn(); // adding up takes a while
    }
    return results;
  }

  release(): void {
    for (const offer of this.#offers) offer.withdraw();
  }

  async #average(partition: Partition, contributions: readonly ListedContribution[]): Promise<Averaged> {
    const { place, peerBlobs, signal } = this.#scope;
    const slices = await Promise.all(
      contributions.map(async (one) => ({ tokens: one.tokens, values: await this.#sliceOf(one, partition) })),
    );
    signal.throwIfAborted();
    const { values, outliers } = averageSlices(slices, place.training.mode);
    const hash = values && hashBytes(bytesOf(values));
    if (values !== null && hash !== null) this.#offers.push(peerBlobs.offer(bytesOf(values), hash));
    const named = outliers.flatMap((index) => contributions[index]?.minerId ?? []);
    const averaged = { partition: partition.index, hash, values, outliers: named };
    this.#done.set(partition.index, averaged);
    return averaged;
  }

  /** From here, or from anyone who has it; null when nobody does. */
  async #sliceOf(contribution: ListedContribution, partition: Partition): Promise<Float32Array | null> {
    if (contribution.tokens === 0) return null;
    const here = this.#here.sliceOf(contribution, partition);
    if (here !== null) return here;
    const slices = this.#here.slicesOf(contribution) ?? (await this.#listOf(contribution));
    const hash = slices?.[partition.index];
    const ref = hash && { hash, bytes: 4 * partition.length };
    const bytes = ref && (await this.#fetch(ref, [contribution.minerId, ...partition.order]));
    return bytes ? floatsOf(bytes) : null;
  }

  /** The slices of a contribution whose offer did not arrive here. */
  #listOf({ manifest, minerId }: ListedContribution): Promise<readonly BlobHash[] | null> {
    const { partitions, replicas } = this.#scope;
    const fetchList = async () => {
      const bytes = await this.#fetch(manifestRef(manifest, partitions.length), [minerId, ...replicas]);
      return bytes && slicesIn(bytes);
    };
    const list = this.#lists.get(manifest) ?? fetchList();
    this.#lists.set(manifest, list);
    return list;
  }

  async #fetch(ref: BlobRef, holders: readonly MinerId[]): Promise<Uint8Array | null> {
    const { peerBlobs, signal } = this.#scope;
    try {
      return await peerBlobs.get(ref, inOrderOfHope(this.#scope, holders), {
        signal,
        onWrong: namingLiars(this.#scope),
      });
    } catch (error) {
      if (signal.aborted || failureOf(error) === undefined) throw error;
      return null;
    }
  }
}
