/** The end of a merge: brings the merged slices to the engine, one by one, and steps on them. */
import { failureOf } from "../../protocol/failure.ts";
import type { GatewayMessage } from "../../protocol/gateway-messages.ts";
import type { BlobHash, MinerId } from "../../protocol/ids.ts";
import type { Partition } from "../../protocol/partitions.ts";
import type { ComputeEngine } from "../compute-host/compute-worker.ts";
import { inOrderOfHope, type MergeScope, namingLiars, payloadLimitsOf } from "./merge-surroundings.ts";

export type ApplyOrder = Extract<GatewayMessage, { type: "apply" }>;

/** The payload of a slice that this replica averaged itself, if it is this one. */
type OwnResult = (partition: Partition, hash: BlobHash) => Uint8Array | null;

/** Slices on their way at once. */
const slicesInFlight = 4;
/** Whoever averaged a slice may be away for a moment. */
const retryMs = 1000;

export class Applier {
  readonly #scope: MergeScope;
  readonly #engine: ComputeEngine;
  readonly #ownResult: OwnResult;
  #order: ApplyOrder;
  /** Counts the orders about other slices: what was begun for an earlier one is left off. */
  #version = 0;
  #hasStepped = false;

  constructor(scope: MergeScope, engine: ComputeEngine, order: ApplyOrder, ownResult: OwnResult) {
    this.#scope = scope;
    this.#engine = engine;
    this.#order = order;
    this.#ownResult = ownResult;
  }

  /** A newer version of the order: other holders, or, before the step is taken, other slices. */
  update(order: ApplyOrder): void {
    const isSame = this.#order.slices.every((slice, index) => slice?.hash === order.slices[index]?.hash);
    if (!isSame && this.#hasStepped) return;
    this.#order = order;
    if (!isSame) this.#version += 1;
  }

  /**
   * Returns the hash of the new weights. Goes on trying until the replica leaves the epoch: the orchestrator knows when it has waited
   * long enough. `counted`: whether this replica's contribution is among what was merged.
   */
  async run(counted: boolean): Promise<BlobHash> {
    for (;;) {
      const version = this.#version;
      await this.#engine.call("beginMerge");
      const partitions = this.#scope.partitions.values();
      await Promise.all(Array.from({ length: slicesInFlight }, () => this.#bring(partitions, version)));
      this.#scope.signal.throwIfAborted();
      if (version === this.#version) break;
    }
    this.#hasStepped = true;
    await this.#engine.call("applyMerged", { tokens: this.#order.tokens, counted });
    this.#scope.pastMerges.merged(this.#order.slices.map((slice) => slice?.hash ?? null));
    return this.#engine.call("weightsHash");
  }

  /** Each one after the other, taking turns with others that do the same. */
  async #bring(partitions: Iterable<Partition>, version: number): Promise<void> {
    for (const partition of partitions) {
      const slice = this.#order.slices[partition.index];
      if (version !== this.#version) return;
      if (!slice) continue;
      const payload = this.#ownResult(partition, slice.hash) ?? (await this.#fetch(partition, slice.hash, version));
      this.#scope.signal.throwIfAborted();
      if (payload === null) return;
      const { from, length } = partition;
      await this.#engine.call("mergeSlice", { from, length, payload });
      await this.#scope.pastMerges.keep(payload, slice.hash);
    }
  }

  /** Null when it is no longer asked for. */
  async #fetch(partition: Partition, hash: BlobHash, version: number): Promise<Uint8Array | null> {
    const { peerBlobs, clock, signal } = this.#scope;
    const bytes = payloadLimitsOf(this.#scope, partition);
    const onWrong = namingLiars(this.#scope);
    for (;;) {
      const holders = inOrderOfHope(this.#scope, this.#holdersInTurn(partition));
      try {
        return await peerBlobs.get({ hash, bytes }, holders, { signal, onWrong });
      } catch (error) {
        if (signal.aborted || failureOf(error) === undefined) throw error;
      }
      await new Promise<void>((resolve) => clock.after(retryMs, resolve));
      signal.throwIfAborted();
      if (version !== this.#version) return null;
    }
  }

  /** Replicas turn to one holder or the other by their place in line, so that all of them serve as much. */
  #holdersInTurn({ index, order }: Partition): readonly MinerId[] {
    const holders = this.#order.slices[index]?.holders ?? [];
    const inLine = order.filter((miner) => holders.includes(miner));
    const first = inLine.length === 0 ? 0 : order.indexOf(this.#scope.self) % inLine.length;
    return [...inLine.slice(first), ...inLine.slice(0, first)];
  }
}
