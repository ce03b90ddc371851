/** Between epochs: does every stage have a miner, and is it time to begin? */
import { countReplicas, rebalance } from "../placement/place.ts";
import type { Next } from "./next.ts";
import { emptyRoster, type PhaseOf, type RunState } from "./state.ts";
import type { Turn } from "./turn.ts";
import { reasonOf } from "./view.ts";

/** The second attempt follows at once, each later one after twice the time; at most a minute. */
const firstRetryDelayMs = 1000;
const longestRetryDelayMs = 60_000;

/** Places everyone as well as it can be done with who is there, and sets the time at which an epoch may begin. */
export function tendWaiting(turn: Turn, phase: PhaseOf<"waiting">): void {
  const { definition } = turn.state;
  turn.change({ members: rebalance(definition.stages, turn.state.members) });
  const fewest = Math.min(...countReplicas(definition.stages, turn.state.members));
  if (fewest === 0) {
    turn.change({ phase: { ...phase, gatherUntilMs: null, deadlineMs: null } });
    return;
  }
  const gatherUntilMs = phase.gatherUntilMs ?? turn.atMs + definition.timeouts.gatherMs;
  const enough = fewest >= definition.minimumReplicas;
  const deadlineMs = enough ? phase.notBeforeMs : Math.max(phase.notBeforeMs, gatherUntilMs);
  turn.change({ phase: { ...phase, gatherUntilMs, deadlineMs } });
}

export function advanceWaiting(state: RunState, phase: PhaseOf<"waiting">, atMs: number): Next | null {
  if (state.intent !== "run") return { to: "rest" };
  if (phase.deadlineMs !== null && atMs >= phase.deadlineMs) return { to: "prepare" };
  return phase.announced ? null : { to: "dismiss" };
}

/** No epoch is running: wait until one can begin. */
export function standBy(turn: Turn, times: { notBeforeMs: number; gatherUntilMs: number | null }): void {
  const { definition, roster } = turn.state;
  turn.change({ roster: emptyRoster(definition.stages, roster.version + 1) });
  turn.enter({ name: "waiting", deadlineMs: null, announced: false, ...times });
}

/** Gives the attempt up; the next one starts from the same checkpoint. */
export function retryEpoch(turn: Turn, why: string): void {
  const attempt = turn.state.attempt + 1;
  turn.change({ attempt });
  turn.log("warning", `Epoch ${turn.state.epoch} starts again: ${why}`);
  const delayMs = attempt === 1 ? 0 : Math.min(firstRetryDelayMs * 2 ** (attempt - 2), longestRetryDelayMs);
  standBy(turn, { notBeforeMs: turn.atMs + delayMs, gatherUntilMs: turn.atMs });
}

/** Gives the attempt up because the owner wants the run to rest; `advanceWaiting` then lets it. */
export function abandonEpoch(turn: Turn): void {
  turn.change({ attempt: turn.state.attempt + 1 });
  standBy(turn, { notBeforeMs: turn.atMs, gatherUntilMs: turn.atMs });
}

/** The run rests, until its owner resumes it or for ever. */
export function rest(turn: Turn): void {
  turn.enter({ name: turn.state.intent === "pause" ? "paused" : "finished", deadlineMs: null });
  dismissMembers(turn);
}

/** Tells everyone that there is nothing to do, and why. */
export function dismissMembers(turn: Turn): void {
  const { phase, members } = turn.state;
  if (phase.name === "waiting") turn.change({ phase: { ...phase, announced: true } });
  const reason = reasonOf(turn.state);
  for (const { minerId } of members) turn.send(minerId, { type: "idle", reason });
}
