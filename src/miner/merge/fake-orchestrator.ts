/**
 * For tests and the benchmark: what `docs/protocol.md` says of the orchestrator's part in the merge of one stage, for replicas that
 * are honest but may die, or be away. It hears of that at once, and waits for nobody who is.
 */

import type { ClientMessage } from "../../protocol/client-messages.ts";
import type { BlobHash, MinerId } from "../../protocol/ids.ts";
import { ownersPerPartition, type Partition, partitionsOf } from "../../protocol/partitions.ts";
import { type FakeSwarm, fakePlace } from "./fake-swarm.ts";
import type { ReduceOrder } from "./reducer.ts";

interface Decision {
  readonly partition: Partition;
  readonly asked: Set<MinerId>;
  readonly reports: Map<MinerId, BlobHash | null>;
  /** Undefined until it is settled; null: nobody can average it. */
  settled: BlobHash | null | undefined;
}

export interface MergeOutcome {
  /** Hashes of the new weights: one, if all replicas agree. */
  readonly weightsHashes: ReadonlySet<BlobHash>;
  /** Those that keep their previous value. */
  readonly lost: number;
  /** Whose work went into the merge, in this order. */
  readonly contributors: readonly MinerId[];
  readonly outliers: ReadonlySet<MinerId>;
}

export class FakeOrchestrator {
  readonly #swarm: FakeSwarm;
  readonly #replicas: readonly MinerId[];
  readonly #contributions = new Map<MinerId, ReduceOrder["contributions"][number]>();
  readonly #decisions: readonly Decision[];
  readonly #merged = new Map<MinerId, BlobHash>();
  readonly #outliers = new Set<MinerId>();

  constructor(swarm: FakeSwarm, parameters: number) {
    this.#swarm = swarm;
    this.#replicas = swarm.members.map(({ id }) => id);
    const { merge: codec } = swarm.place.training.compression;
    this.#decisions = partitionsOf(fakePlace.at, this.#replicas, parameters, codec).map((partition) => ({
      partition,
      asked: new Set(),
      reports: new Map(),
      settled: undefined,
    }));
    swarm.onReport = (from, message) => this.#reported(from, message);
  }

  get partitions(): readonly Partition[] {
    return this.#decisions.map(({ partition }) => partition);
  }

  /** Leads the swarm through one merge. */
  async merge(): Promise<MergeOutcome> {
    const swarm = this.#swarm;
    for (const id of swarm.live) swarm.order(id, { type: "upload", at: fakePlace.at, replicas: this.#replicas });
    await swarm.until(() => [...swarm.live].every((id) => swarm.away.has(id) || this.#contributions.has(id)));
    const contributions = this.#replicas.flatMap((id) => this.#contributions.get(id) ?? []);
    await swarm.until(() => {
      this.#ask(contributions);
      return this.#decisions.every(({ settled }) => settled !== undefined);
    });
    this.#apply(contributions.reduce((sum, { tokens }) => sum + tokens, 0));
    await swarm.until(() => [...swarm.live].every((id) => this.#merged.has(id)));
    return {
      weightsHashes: new Set([...this.#merged].filter(([id]) => swarm.live.has(id)).map(([, hash]) => hash)),
      lost: this.#decisions.filter(({ settled }) => settled === null).length,
      contributors: contributions.map(({ minerId }) => minerId),
      outliers: this.#outliers,
    };
  }

  #reported(from: MinerId, message: ClientMessage): void {
    if (message.type === "contributed")
      this.#contributions.set(from, { minerId: from, manifest: message.manifest, tokens: message.tokens });
    if (message.type === "merged") this.#merged.set(from, message.weightsHash);
    if (message.type !== "reduced") return;
    for (const outlier of message.outliers) this.#outliers.add(outlier);
    for (const { partition, hash } of message.slices) this.#decisions[partition]?.reports.set(from, hash);
  }

  /** Settles what can be settled, and asks whoever is next in line about the rest. */
  #ask(contributions: ReduceOrder["contributions"]): void {
    const orders = new Map<MinerId, number[]>();
    for (const decision of this.#decisions) {
      if (decision.settled === undefined) decision.settled = this.#decide(decision);
      if (decision.settled !== undefined) continue;
      for (const id of this.#nextInLine(decision)) {
        decision.asked.add(id);
        orders.set(id, [...(orders.get(id) ?? []), decision.partition.index]);
      }
    }
    for (const [id, partitions] of orders)
      this.#swarm.order(id, { type: "reduce", at: fakePlace.at, replicas: this.#replicas, contributions, partitions });
  }

  /** As many as there are to be two reports, if those that were asked and live agree. */
  #nextInLine({ partition, asked, reports }: Decision): readonly MinerId[] {
    const waitsFor = [...asked].filter((id) => this.#swarm.isOnRoster(id) && !reports.has(id)).length;
    const votes = Math.max(0, ...[...reports.values()].map((hash) => countOf(reports, hash)));
    const others = partition.order.filter((id) => this.#swarm.isOnRoster(id) && !asked.has(id));
    return others.slice(0, Math.max(0, ownersPerPartition - votes - waitsFor));
  }

  #decide({ partition, reports }: Decision): BlobHash | null | undefined {
    for (const hash of reports.values()) if (countOf(reports, hash) >= ownersPerPartition) return hash;
    const isAnyoneLeft = partition.order.some((id) => this.#swarm.isOnRoster(id) && !reports.has(id));
    if (isAnyoneLeft) return undefined;
    const [standing = null] = [...reports].filter(([id]) => this.#swarm.live.has(id)).map(([, hash]) => hash);
    return standing;
  }

  #apply(tokens: number): void {
    const slices = this.#decisions.map(({ settled, reports }) => {
      if (settled == null) return null;
      const holders = [...reports].filter(([, hash]) => hash === settled).map(([id]) => id);
      return { hash: settled, holders };
    });
    for (const id of this.#swarm.live)
      this.#swarm.order(id, { type: "apply", at: fakePlace.at, replicas: this.#replicas, tokens, slices });
  }
}

function countOf(reports: ReadonlyMap<MinerId, BlobHash | null>, hash: BlobHash | null): number {
  return [...reports.values()].filter((other) => other === hash).length;
}
