/** What replicas are told to do in a merge, as its state has it. */
import type { OrchestratorMessage } from "./event.ts";
import { askedOf, holdersOf } from "./reducing.ts";
import type { PartitionMerge, StageMerge } from "./stage-merge.ts";
import { placeRef, type Replica, type RunState } from "./state.ts";

/** Everything that the replica has been asked to average and has not reported; null when there is nothing. */
export function reduceMessage(
  state: RunState,
  stage: number,
  merge: StageMerge,
  replica: Replica,
): OrchestratorMessage | null {
  const index = state.replicas[stage]?.findIndex(({ minerId }) => minerId === replica.minerId) ?? -1;
  const partitions = merge.partitions.flatMap((partition, number) =>
    awaits(partition, askedOf(partition, number, merge.order), index) ? [number] : [],
  );
  return partitions.length === 0 ? null : reduceOf(state, stage, merge, partitions);
}

/** The same for all replicas of a stage at once, by index. */
export function partitionsToReduce({ partitions, order }: StageMerge): ReadonlyMap<number, readonly number[]> {
  const byReplica = new Map<number, number[]>();
  for (const [number, partition] of partitions.entries())
    for (const replica of askedOf(partition, number, order))
      if (awaits(partition, [replica], replica)) byReplica.set(replica, [...(byReplica.get(replica) ?? []), number]);
  return byReplica;
}

export function reduceOf(
  state: RunState,
  stage: number,
  merge: StageMerge,
  partitions: readonly number[],
): OrchestratorMessage {
  const at = placeRef(state, stage);
  return {
    type: "reduce",
    at,
    replicas: listedReplicas(state, stage, merge),
    contributions: merge.contributors,
    partitions,
  };
}

export function applyMessage(state: RunState, stage: number, merge: StageMerge): OrchestratorMessage {
  const replicas = state.replicas[stage] ?? [];
  return {
    type: "apply",
    at: placeRef(state, stage),
    replicas: listedReplicas(state, stage, merge),
    tokens: merge.contributors.reduce((sum, { tokens }) => sum + tokens, 0),
    slices: merge.partitions.map((partition) =>
      partition.hash === null
        ? null
        : { hash: partition.hash, holders: holdersOf(partition, replicas).map(({ minerId }) => minerId) },
    ),
  };
}

function awaits(partition: PartitionMerge, asked: readonly number[], replica: number): boolean {
  return partition.open && asked.includes(replica) && partition.reports.every((report) => report.replica !== replica);
}

function listedReplicas(state: RunState, stage: number, { order }: StageMerge) {
  return order.flatMap((index) => state.replicas[stage]?.[index]?.minerId ?? []);
}
