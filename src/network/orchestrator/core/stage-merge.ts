/** A stage on its way to the next epoch. `merging.ts` leads it there, `reducing.ts` decides what each partition becomes. */
import type { BlobHash, MinerId } from "../../../protocol/ids.ts";

export interface StageMerge {
  /**
   * The replicas that `upload` listed, in the order in which they are asked to average a partition (`partitions.ts`), as indexes
   * into the stage's replicas.
   */
  readonly order: readonly number[];
  /** Whose work is merged, in one order for all, so that equal sums are equal bits. */
  readonly contributors: readonly {
    readonly minerId: MinerId;
    readonly manifest: BlobHash;
    readonly tokens: number;
  }[];
  readonly partitions: readonly PartitionMerge[];
  /** Partitions that are still open. */
  readonly open: number;
  /** Live replicas when the partitions were last looked at: with fewer, some may have to be put to others. */
  readonly live: number;
  /** Contributions that a replica left out of a partition, and which replicas did. */
  readonly outliers: readonly { readonly minerId: MinerId; readonly namedBy: readonly MinerId[] }[];
  readonly step: MergeStep;
}

/** Partitions are averaged → replicas apply them → they agree. */
export type MergeStep =
  | { readonly name: "reducing" }
  | { readonly name: "applying" }
  | { readonly name: "agreed"; readonly weightsHash: BlobHash };

export interface PartitionMerge {
  /** So many replicas of the order were asked, from the partition's first owner on. */
  readonly asked: number;
  /** In the order in which they came. */
  readonly reports: readonly PartitionReport[];
  readonly open: boolean;
  /** Once it is not open: the averaged slice; null: the partition keeps its previous value. */
  readonly hash: BlobHash | null;
  /** Contributors whose work is not in that slice because nobody could have it, as indexes, ascending. */
  readonly missing: readonly number[];
}

export interface PartitionReport {
  /** Index into the stage's replicas. */
  readonly replica: number;
  /** Null: it could not average it. */
  readonly hash: BlobHash | null;
  /** As in `PartitionMerge`, by this replica's word. */
  readonly missing: readonly number[];
}

/** What a report says of the slice. Two that say the same decide the partition: who was missing is part of it. */
export function wordOf({ hash, missing }: Pick<PartitionReport, "hash" | "missing">): string {
  return `${hash} without ${missing.join()}`;
}
