/** Replicas put their contributions into the blob store; from then on those may outlive them. */
import type { MinerId } from "../../../protocol/ids.ts";
import type { Next } from "./next.ts";
import { type Contribution, type PhaseOf, type RunState, rosterMembers, stageName, uncoveredStage } from "./state.ts";
import type { Turn } from "./turn.ts";

/** Contributions and weights travel as raw f32. */
export const bytesPerParameter = 4;

export function beginUploading(turn: Turn, plannedTokens: number): void {
  const deadlineMs = turn.atMs + turn.state.definition.timeouts.uploadMs;
  turn.enter({ name: "uploading", deadlineMs, plannedTokens, contributions: [] });
  turn.sendToRoster({ type: "upload", at: turn.at });
}

export function recordContribution(
  turn: Turn,
  phase: PhaseOf<"uploading">,
  from: MinerId,
  report: Omit<Contribution, "minerId" | "stage">,
): void {
  const { roster, stages } = turn.state;
  if (phase.contributions.some((one) => one.minerId === from)) return;
  const stage = roster.stages.findIndex((replicas) => replicas.includes(from));
  const expectedBytes = (stages[stage]?.parameters ?? 0) * bytesPerParameter;
  if (report.blob.bytes !== expectedBytes) {
    turn.dropAsUnreliable(from, `its contribution has ${report.blob.bytes} bytes, not ${expectedBytes}.`);
    return;
  }
  if (report.tokens > phase.plannedTokens) {
    turn.dropAsUnreliable(from, `it claims ${report.tokens} tokens of ${phase.plannedTokens}.`);
    return;
  }
  const { blob, tokens, lossSumNats } = report;
  const contribution: Contribution = { minerId: from, stage, blob, tokens, lossSumNats };
  turn.change({ phase: { ...phase, contributions: [...phase.contributions, contribution] } });
}

export function advanceUploading(state: RunState, phase: PhaseOf<"uploading">): Next | null {
  const uncovered = uncoveredStage(state);
  if (uncovered !== undefined) return { to: "retry", why: `${stageName(state, uncovered)} lost its last replica.` };
  const contributed = new Set(phase.contributions.map((one) => one.minerId));
  if (!rosterMembers(state).every((minerId) => contributed.has(minerId))) return null;

  const untrained = state.stages.find(({ spec }) =>
    phase.contributions.every((one) => one.stage !== spec.index || one.tokens === 0),
  );
  if (untrained === undefined) return { to: "merge", contributions: phase.contributions };
  if (state.intent !== "run") return { to: "abandon" };
  return { to: "retry", why: `${stageName(state, untrained.spec.index)} has trained nothing.` };
}

export function expireUploading(turn: Turn, phase: PhaseOf<"uploading">): void {
  const contributed = new Set(phase.contributions.map((one) => one.minerId));
  for (const minerId of rosterMembers(turn.state))
    if (!contributed.has(minerId)) turn.dropAsUnreliable(minerId, "it did not upload its contribution in time.");
}
