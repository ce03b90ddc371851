/** How a stage's weights came about: the last merges, for who has what they began with. */
import { mostPastMerges, type PastMerge } from "../../../protocol/gateway-messages.ts";
import { manifestOf } from "../../../protocol/partitions.ts";
import { expectedHash } from "./preparing.ts";
import type { StageMerge } from "./stage-merge.ts";
import type { RunState } from "./state.ts";

/** With the one that has just been brought to its end. */
export function pastMerges(state: RunState, stage: number, merge: StageMerge): readonly PastMerge[] {
  const before = state.start?.stages[stage]?.merges ?? [];
  const from = expectedHash(state, stage);
  // As they are, merged slices are no shorter than the weights.
  if (from === undefined || state.definition.training.compression.merge.kind === "f32") return [];
  const { partitions, order, contributors } = merge;
  const last = {
    from,
    slices: manifestOf(partitions.map(({ hash }) => hash)),
    replicas: order.length,
    tokens: contributors.reduce((sum, { tokens }) => sum + tokens, 0),
  };
  return [...before, last].slice(-mostPastMerges);
}
