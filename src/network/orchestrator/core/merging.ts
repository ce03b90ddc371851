/** Each replica averages its stage's contributions; they must agree; one per stage stores the result. */
import { optimizerStateLength } from "../../../compute/model/optimizer-state.ts";
import type { BlobHash, BlobRef, MinerId } from "../../../protocol/ids.ts";
import type { Next } from "./next.ts";
import { type Contribution, type PhaseOf, type RunState, type StageMerge, stageName } from "./state.ts";
import type { Turn } from "./turn.ts";
import { bytesPerParameter } from "./uploading.ts";

export function beginMerging(turn: Turn, contributed: readonly Contribution[]): void {
  const { definition, roster, stages } = turn.state;
  // One order for all, so that equal sums are equal bits.
  const contributions = contributed.toSorted((a, b) => (a.minerId < b.minerId ? -1 : 1));
  turn.enter({
    name: "merging",
    deadlineMs: turn.atMs + definition.timeouts.mergeMs,
    contributions,
    merged: {},
    stages: stages.map(() => ({ step: "answering" })),
  });
  roster.stages.forEach((replicas, stage) => {
    const listed = contributions
      .filter((one) => one.stage === stage)
      .map(({ minerId, blob, tokens }) => ({ minerId, blob, tokens }));
    for (const minerId of replicas) turn.send(minerId, { type: "merge", at: turn.at, contributions: listed });
  });
}

export function recordMerged(turn: Turn, phase: PhaseOf<"merging">, from: MinerId, weightsHash: BlobHash): void {
  if (phase.merged[from] !== undefined) return;
  turn.change({ phase: { ...phase, merged: { ...phase.merged, [from]: weightsHash } } });
}

export function recordStored(
  turn: Turn,
  phase: PhaseOf<"merging">,
  from: MinerId,
  blobs: { readonly weights: BlobRef; readonly optimizer: BlobRef },
): void {
  const index = phase.stages.findIndex((merge) => merge.step === "agreed" && merge.asked === from);
  const merge = phase.stages[index];
  if (merge?.step !== "agreed") return;
  const { weights, optimizer } = blobs;
  const parameters = turn.state.stages[index]?.parameters ?? 0;
  const optimizerLength = optimizerStateLength(turn.state.definition.training.mode, parameters);
  const fits =
    weights.bytes === parameters * bytesPerParameter && optimizer.bytes === optimizerLength * bytesPerParameter;
  if (weights.hash !== merge.weightsHash || !fits) {
    turn.dropAsUnreliable(from, "it stored something else than was agreed on.");
    return;
  }
  setStage(turn, index, { step: "stored", weightsHash: merge.weightsHash, weights, optimizer });
}

export function advanceMerging(state: RunState, phase: PhaseOf<"merging">): Next | null {
  for (const [stage, merge] of phase.stages.entries()) {
    const replicas = state.roster.stages[stage] ?? [];
    const lost: Next = {
      to: "retry",
      why: `${stageName(state, stage)} lost its merged weights before they were stored.`,
    };
    if (merge.step === "answering") {
      if (!replicas.every((minerId) => phase.merged[minerId] !== undefined)) continue;
      const weightsHash = majority(replicas.flatMap((minerId) => phase.merged[minerId] ?? []));
      return weightsHash === undefined ? lost : { to: "agree", stage, weightsHash };
    }
    if (merge.step === "agreed") {
      if (merge.asked !== null && replicas.includes(merge.asked)) continue;
      const minerId = replicas.find((replica) => phase.merged[replica] === merge.weightsHash);
      return minerId === undefined ? lost : { to: "ask", stage, minerId };
    }
  }
  return phase.stages.every((merge) => merge.step === "stored") ? { to: "record" } : null;
}

/** All live replicas have answered: what most of them say stands. */
export function agree(turn: Turn, stage: number, weightsHash: BlobHash): void {
  setStage(turn, stage, { step: "agreed", weightsHash, asked: null });
}

/** One replica that agrees stores the stage for all. */
export function askToStore(turn: Turn, stage: number, minerId: MinerId): void {
  const { phase } = turn.state;
  const merge = phase.name === "merging" ? phase.stages[stage] : undefined;
  if (merge?.step !== "agreed") return;
  setStage(turn, stage, { ...merge, asked: minerId });
  turn.send(minerId, { type: "store-checkpoint", at: turn.at });
}

/** Replicas that have not merged, or not stored as they were asked to, are out; the others get time to take over. */
export function expireMerging(turn: Turn, phase: PhaseOf<"merging">): void {
  const { definition, roster } = turn.state;
  turn.change({ phase: { ...phase, deadlineMs: turn.atMs + definition.timeouts.mergeMs } });
  phase.stages.forEach((merge, stage) => {
    for (const minerId of roster.stages[stage] ?? []) {
      if (merge.step === "answering" && phase.merged[minerId] === undefined)
        turn.dropAsUnreliable(minerId, "it did not merge in time.");
      if (merge.step === "agreed" && merge.asked === minerId)
        turn.dropAsUnreliable(minerId, "it did not store its stage in time.");
    }
  });
}

/** The hash that most replicas have; the one listed first on ties. */
function majority(hashes: readonly BlobHash[]): BlobHash | undefined {
  const votes = Map.groupBy(hashes, (hash) => hash);
  const most = Math.max(...[...votes.values()].map((group) => group.length));
  return hashes.find((hash) => votes.get(hash)?.length === most);
}

function setStage(turn: Turn, stage: number, merge: StageMerge): void {
  const { phase } = turn.state;
  if (phase.name === "merging") turn.change({ phase: { ...phase, stages: phase.stages.with(stage, merge) } });
}
