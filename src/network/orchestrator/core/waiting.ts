/** Between epochs: does every stage have a miner, and is it time to begin? */

import { coverage } from "./coverage.ts";
import { allOutOfStep } from "./keeping.ts";
import type { Next } from "./next.ts";
import { placeMembers } from "./placing.ts";
import { idleReason, reasonOf } from "./reason.ts";
import { clearRoster } from "./roster.ts";
import { awaitsSnapshots, fallBackIfLost, isRecorded } from "./start.ts";
import { type PhaseOf, perStage, type RunState } from "./state.ts";
import type { Turn } from "./turn.ts";

/** The second attempt follows at once, each later one after twice the time; at most a minute. */
const firstRetryDelayMs = 1000;
const longestRetryDelayMs = 60_000;

/** Placing a large swarm takes a while: not at every single arrival. */
const placedAtOnce = 32;
const placingIntervalMs = 1000;

/** Places everyone as well as it can be done with who is there, and sets the time at which an epoch may begin. */
export function tendWaiting(turn: Turn, before: PhaseOf<"waiting">): void {
  const { definition } = turn.state;
  let phase = before;
  if (phase.placeDueMs !== null && turn.atMs >= phase.placeDueMs) {
    placeMembers(turn);
    const pauseMs = turn.state.members.length > placedAtOnce ? placingIntervalMs : 0;
    phase = { ...phase, placeDueMs: null, placeNotBeforeMs: turn.atMs + pauseMs };
  }
  const { fewest, present } = coverage(turn.state);
  let deadlineMs = phase.placeDueMs;
  if (fewest === 0) phase = phase.gatherUntilMs === null ? phase : { ...phase, gatherUntilMs: null };
  else if (deadlineMs === null) {
    const gatherUntilMs = phase.gatherUntilMs ?? turn.atMs + definition.timeouts.gatherMs;
    const enough = fewest >= definition.minimumReplicas && present >= definition.minimumReplicas * definition.stages;
    deadlineMs = enough ? phase.notBeforeMs : Math.max(phase.notBeforeMs, gatherUntilMs);
    if (gatherUntilMs !== phase.gatherUntilMs) phase = { ...phase, gatherUntilMs };
  }
  // What has not changed stays the same value: an event that did nothing is told by it.
  if (phase !== before || deadlineMs !== before.deadlineMs) turn.change({ phase: { ...phase, deadlineMs } });
}

/** Members came, went or changed. */
export function placeSoon(turn: Turn): void {
  const { phase } = turn.state;
  if (phase.name !== "waiting" || phase.placeDueMs !== null) return;
  turn.change({ phase: { ...phase, placeDueMs: Math.max(turn.atMs, phase.placeNotBeforeMs) } });
}

export function advanceWaiting(state: RunState, phase: PhaseOf<"waiting">, atMs: number): Next | null {
  if (state.intent !== "run") return isRecorded(state) ? { to: "rest" } : { to: "store" };
  const isPlaced = phase.placeDueMs === null;
  if (isPlaced && phase.deadlineMs !== null && atMs >= phase.deadlineMs)
    return fallBackIfLost(state) ?? { to: "prepare" };
  // Who is sent away forgets what it holds: not before somebody has a copy.
  return phase.announced || awaitsSnapshots(state) ? null : { to: "dismiss" };
}

/** No epoch is running: wait until one can begin. */
export function standBy(turn: Turn, times: { notBeforeMs: number; gatherUntilMs: number | null }): void {
  turn.change({ replicas: perStage(turn.state.definition) });
  clearRoster(turn);
  turn.enter({
    name: "waiting",
    deadlineMs: null,
    placeDueMs: turn.atMs,
    placeNotBeforeMs: turn.atMs,
    announced: false,
    ...times,
  });
}

/** Gives the attempt up; the next one starts from the same state. */
export function retryEpoch(turn: Turn, why: string): void {
  const attempt = turn.state.attempt + 1;
  turn.log("warning", `Epoch ${turn.state.epoch} starts again: ${why}`);
  turn.change({ attempt });
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

/** Tells everyone that there is nothing to do, and why. They give up what they hold but for snapshots. */
export function dismissMembers(turn: Turn): void {
  allOutOfStep(turn);
  const { phase, members } = turn.state;
  if (phase.name === "waiting") turn.change({ phase: { ...phase, announced: true } });
  const reason = reasonOf(turn.state);
  for (const member of members)
    turn.send(member.minerId, { type: "idle", reason: idleReason(turn.state, member) ?? reason });
}
