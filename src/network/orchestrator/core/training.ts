/** Microbatches flow between the miners; the orchestrator only hears when the sources are done, and says who is lost. */
import type { MinerId } from "../../../protocol/ids.ts";
import { tokensPerSource } from "./definition.ts";
import type { Next } from "./next.ts";
import { type PhaseOf, type RunState, stageName, uncoveredStage } from "./state.ts";
import type { Turn } from "./turn.ts";

export function beginTraining(turn: Turn): void {
  const { definition, roster } = turn.state;
  const sources = roster.stages[0]?.length ?? 0;
  turn.enter({
    name: "training",
    deadlineMs: turn.atMs + definition.timeouts.epochMs,
    plannedTokens: sources * tokensPerSource(definition),
    done: [],
    announcedRosterVersion: roster.version,
  });
  turn.sendToRoster({ type: "start", at: turn.at, roster });
}

export function recordSourceDone(
  turn: Turn,
  phase: PhaseOf<"training">,
  from: MinerId,
  report: { readonly microbatchesLost: number },
): void {
  const { roster, microbatchesLost } = turn.state;
  if (!roster.stages[0]?.includes(from) || phase.done.includes(from)) return;
  turn.change({
    phase: { ...phase, done: [...phase.done, from] },
    microbatchesLost: microbatchesLost + report.microbatchesLost,
  });
}

export function advanceTraining(state: RunState, phase: PhaseOf<"training">): Next | null {
  const { roster, intent } = state;
  const uncovered = uncoveredStage(state);
  if (uncovered !== undefined) return { to: "retry", why: `${stageName(state, uncovered)} lost its last replica.` };
  const allDone = roster.stages[0]?.every((source) => phase.done.includes(source));
  // A run that is to rest merges what it has: nothing that was trained is thrown away.
  if (allDone || intent !== "run") return { to: "upload", plannedTokens: phase.plannedTokens };
  return phase.announcedRosterVersion === roster.version ? null : { to: "announce-roster" };
}

/** Somebody left in mid-epoch. */
export function announceRoster(turn: Turn): void {
  const { phase, roster } = turn.state;
  if (phase.name !== "training") return;
  turn.change({ phase: { ...phase, announcedRosterVersion: roster.version } });
  turn.sendToRoster({ type: "roster", at: turn.at, roster });
}

/** What the sources got through by now is the epoch. */
export function expireTraining(turn: Turn, phase: PhaseOf<"training">): void {
  turn.log("warning", `Epoch ${turn.state.epoch} ran out of time; what was trained is merged.`);
  turn.change({ phase: { ...phase, done: turn.state.roster.stages[0] ?? [] } });
}
