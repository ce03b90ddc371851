/** Microbatches flow between the miners; the orchestrator only hears when the sources are done, and says who is there. */
import { tokensPerSource } from "./definition.ts";
import { allOutOfStep } from "./keeping.ts";
import type { Next } from "./next.ts";
import { weigh } from "./placing.ts";
import { epochTraining } from "./planning.ts";
import { isLive, stageWithout } from "./replicas.ts";
import { announceStart } from "./roster.ts";
import { type PhaseOf, type Replica, type RunState, stageName } from "./state.ts";
import type { Turn } from "./turn.ts";

/** Once half of the sources are done, the others get so much of the time again that it took, or a moment. */
const stragglerShare = 0.5;
const stragglerMs = 30_000;

/** All that are ready train; the others warm up. */
export function beginTraining(turn: Turn): void {
  const { definition } = turn.state;
  const replicas = turn.state.replicas.map((ofStage) =>
    ofStage.map((replica): Replica => {
      if (replica.part === "out") return replica;
      return { ...replica, part: replica.ready === null ? "warming" : "live" };
    }),
  );
  turn.change({ replicas: weigh(turn.state, replicas) });
  allOutOfStep(turn);
  const sources = turn.state.replicas[0]?.filter(isLive).length ?? 0;
  turn.enter({
    name: "training",
    deadlineMs: turn.atMs + definition.timeouts.epochMs,
    plannedTokens: sources * tokensPerSource(epochTraining(turn.state)),
    timeIsUp: false,
  });
  announceStart(turn);
}

/** False when it was known. */
export function recordSourceDone(
  turn: Turn,
  stage: number,
  replica: Replica,
  report: { readonly microbatchesLost: number },
): boolean {
  if (stage !== 0 || !isLive(replica) || replica.sourceDone) return false;
  turn.change({ microbatchesLost: turn.state.microbatchesLost + report.microbatchesLost });
  turn.changeReplica(stage, replica.minerId, { sourceDone: true });
  hurryStragglers(turn);
  return true;
}

/** What a source that has become slow got through by then is merged, and it will be given less the next time. */
function hurryStragglers(turn: Turn): void {
  const { phase, phaseSinceMs, replicas } = turn.state;
  const live = replicas[0]?.filter(isLive) ?? [];
  if (phase.name !== "training" || 2 * live.filter(({ sourceDone }) => sourceDone).length < live.length) return;
  const patienceMs = Math.max(stragglerMs, Math.ceil(stragglerShare * (turn.atMs - phaseSinceMs)));
  turn.change({ phase: { ...phase, deadlineMs: Math.min(phase.deadlineMs, turn.atMs + patienceMs) } });
}

export function advanceTraining(state: RunState, phase: PhaseOf<"training">): Next | null {
  const uncovered = stageWithout(state, isLive);
  if (uncovered !== undefined) return { to: "retry", why: `${stageName(state, uncovered)} lost its last replica.` };
  const allDone = state.replicas[0]?.every((source) => !isLive(source) || source.sourceDone) ?? false;
  // A run that is to rest merges what it has: nothing that was trained is thrown away.
  const isOver = allDone || phase.timeIsUp || state.intent !== "run";
  return isOver ? { to: "upload", plannedTokens: phase.plannedTokens } : null;
}

/** What the sources got through by now is the epoch. */
export function expireTraining(turn: Turn, phase: PhaseOf<"training">): void {
  turn.log("warning", `Epoch ${turn.state.epoch} ran out of time; what was trained is merged.`);
  turn.change({ phase: { ...phase, timeIsUp: true } });
}
