/**
 * What becomes of a partition: pure functions of what was reported. Two reports that say the same — the slice's hash, and whose
 * work is missing in it — decide it, so that a fault shows; where one owner is lost, or two disagree, the next replica of the order
 * is asked. A lone report stands where nobody else can be asked and nobody has reported anything else. Otherwise the partition
 * keeps its previous value.
 */

import type { BlobHash } from "../../../protocol/ids.ts";
import { ownersPerPartition } from "../../../protocol/partitions.ts";
import { isLive } from "./replicas.ts";
import { type PartitionMerge, type StageMerge, wordOf } from "./stage-merge.ts";
import type { Replica } from "./state.ts";

export const untouched: PartitionMerge = { asked: 0, reports: [], open: true, hash: null, missing: [] };

/** Indexes of the replicas that were asked for the partition, its owners first. */
export function askedOf(partition: PartitionMerge, number: number, order: readonly number[]): readonly number[] {
  return Array.from({ length: partition.asked }, (_, turn) => order[(number + turn) % order.length] ?? -1);
}

/** Live replicas that have the averaged slice: those that reported it, else those that merged and so fetched it. */
export function holdersOf(partition: PartitionMerge, replicas: readonly Replica[]): readonly Replica[] {
  const reporters = partition.reports.flatMap(({ replica, hash }) => {
    const reporter = replicas[replica];
    return hash === partition.hash && reporter !== undefined && isLive(reporter) ? [reporter] : [];
  });
  return reporters.length > 0 ? reporters : replicas.filter((replica) => isLive(replica) && replica.merged !== null);
}

/** The partition decided, or put to as many more replicas as it takes. */
function judge(
  partition: PartitionMerge,
  number: number,
  order: readonly number[],
  replicas: readonly Replica[],
): PartitionMerge {
  const lives = (index: number) => replicas[index]?.part === "live";
  const votes = votesOf(partition, lives);
  for (let { asked } = partition; ; asked++) {
    const put = { ...partition, asked };
    const awaited = askedOf(put, number, order).filter(
      (index) => lives(index) && partition.reports.every((report) => report.replica !== index),
    ).length;
    const agreed = votes.find((vote) => vote.isHeld && vote.count >= ownersPerPartition);
    if (agreed !== undefined) return decided(put, agreed);
    const most = Math.max(0, ...votes.map((vote) => vote.count));
    if (awaited > 0 && (most + awaited >= ownersPerPartition || asked >= order.length)) return put;
    if (asked < order.length) continue;
    const [lone] = votes;
    return decided(put, votes.length === 1 && lone?.isHeld ? lone : { hash: null, missing: [] });
  }
}

function decided(partition: PartitionMerge, { hash, missing }: Pick<PartitionMerge, "hash" | "missing">) {
  return { ...partition, open: false, hash, missing };
}

interface Vote {
  readonly hash: BlobHash;
  readonly missing: readonly number[];
  readonly count: number;
  /** By somebody who can still hand it out. */
  readonly isHeld: boolean;
}

/** Who is lost by now has voted all the same. */
function votesOf({ reports }: PartitionMerge, lives: (index: number) => boolean): readonly Vote[] {
  const words = Map.groupBy(reports, wordOf);
  return Array.from(words.values()).flatMap((voters): Vote[] => {
    const [{ hash, missing } = { hash: null, missing: [] }] = voters;
    if (hash === null) return [];
    return [{ hash, missing, count: voters.length, isHeld: voters.some(({ replica }) => lives(replica)) }];
  });
}

/** The partitions with these numbers looked at again. */
export function judgeAll(
  merge: StageMerge,
  numbers: Iterable<number>,
  replicas: readonly Replica[],
): Pick<StageMerge, "partitions" | "open"> {
  const partitions = [...merge.partitions];
  let { open } = merge;
  for (const number of numbers) {
    const before = partitions[number];
    if (before === undefined || !before.open) continue;
    const after = judge(before, number, merge.order, replicas);
    partitions[number] = after;
    if (!after.open) open--;
  }
  return { partitions, open };
}
