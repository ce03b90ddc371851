/** Replicas load the epoch's starting weights. */
import type { BlobHash, MinerId } from "../../../protocol/ids.ts";
import type { Next } from "./next.ts";
import { memberOf, type PhaseOf, type RunState, rosterMembers, stageName, uncoveredStage } from "./state.ts";
import type { Turn } from "./turn.ts";

export function beginPreparing(turn: Turn): void {
  const { definition, members } = turn.state;
  turn.change({ epochSinceMs: turn.atMs });
  turn.enter({ name: "preparing", deadlineMs: turn.atMs + definition.timeouts.prepareMs, ready: {} });
  for (const { minerId } of members) prepareMember(turn, minerId);
}

/** Gives a member its place in the epoch that is being prepared. */
export function prepareMember(turn: Turn, minerId: MinerId): void {
  const { definition, stages, roster, checkpoint } = turn.state;
  const member = memberOf(turn.state, minerId);
  const plan = member && stages[member.stage];
  if (plan === undefined) return;
  turn.change({
    roster: {
      version: roster.version + 1,
      stages: roster.stages.map((replicas, stage) => (stage === plan.spec.index ? [...replicas, minerId] : replicas)),
    },
  });
  turn.send(minerId, {
    type: "prepare",
    at: turn.at,
    stage: plan.spec,
    model: definition.model,
    training: definition.training,
    dataset: definition.dataset,
    checkpoint: checkpoint?.stages[plan.spec.index] ?? null,
  });
}

/** Replicas must start from the same weights: the checkpoint's, or at first whatever the seed gave the first one. */
export function recordReady(turn: Turn, phase: PhaseOf<"preparing">, from: MinerId, weightsHash: BlobHash): void {
  const expected = expectedHash(turn, phase, from);
  if (expected !== undefined && expected !== weightsHash) {
    turn.dropAsUnreliable(from, "it loaded other weights than the rest.");
    return;
  }
  turn.setUnreliable(from, false);
  turn.change({ phase: { ...phase, ready: { ...phase.ready, [from]: weightsHash } } });
}

function expectedHash(turn: Turn, phase: PhaseOf<"preparing">, minerId: MinerId): BlobHash | undefined {
  const { checkpoint, roster } = turn.state;
  const stage = roster.stages.findIndex((replicas) => replicas.includes(minerId));
  if (checkpoint !== null) return checkpoint.stages[stage]?.weights.hash;
  const first = roster.stages[stage]?.find((replica) => phase.ready[replica] !== undefined);
  return first && phase.ready[first];
}

export function advancePreparing(state: RunState, phase: PhaseOf<"preparing">): Next | null {
  if (state.intent !== "run") return { to: "abandon" };
  const uncovered = uncoveredStage(state);
  if (uncovered !== undefined)
    return { to: "retry", why: `${stageName(state, uncovered)} has no replica that is ready.` };
  const allReady = rosterMembers(state).every((minerId) => phase.ready[minerId] !== undefined);
  return allReady ? { to: "train" } : null;
}

export function expirePreparing(turn: Turn, phase: PhaseOf<"preparing">): void {
  for (const minerId of rosterMembers(turn.state))
    if (phase.ready[minerId] === undefined) turn.dropAsUnreliable(minerId, "it was not ready in time.");
}
