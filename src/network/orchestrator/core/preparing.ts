/** Replicas load the epoch's starting state. */
import type { BlobHash } from "../../../protocol/ids.ts";
import { tellReplica } from "./commands.ts";
import { getInStep } from "./keeping.ts";
import type { Next } from "./next.ts";
import { newReplica } from "./placing.ts";
import { everyLive, replicaOf, stageWithout } from "./replicas.ts";
import { fallBackIfLost } from "./start.ts";
import { type Member, type PhaseOf, perStage, type Replica, type RunState, stageName } from "./state.ts";
import type { Turn } from "./turn.ts";

/** Who still loads when the others are ready is waited for, before an epoch has shown what it costs to train without. */
const firstLingerMs = 5000;

/**
 * Everyone with a place takes part. Where some hold the state already, the phase waits for them; the others come along if they
 * are quick, and else warm up.
 */
export function beginPreparing(turn: Turn): void {
  const { definition, members, away, start } = turn.state;
  const absent = new Set(away.map(({ minerId }) => minerId));
  turn.change({ epochSinceMs: turn.atMs, replicas: perStage(definition) });
  turn.enter({ name: "preparing", deadlineMs: turn.atMs + definition.timeouts.prepareMs, lingerUntilMs: null });
  const replicas = turn.state.stages.map(({ spec: { index: stage } }) => {
    const ofStage = members.filter((member) => member.stages.includes(stage) && !absent.has(member.minerId));
    const holders = new Set(start?.stages[stage]?.inStep);
    const inStep = ofStage.filter(({ minerId }) => holders.has(minerId));
    return ofStage.map((member) => {
      const isExpected = inStep.length === 0 || holders.has(member.minerId);
      return newReplica(turn.state, member, stage, isExpected ? "live" : "warming");
    });
  });
  turn.change({ replicas });
  for (const [stage, ofStage] of replicas.entries())
    for (const { minerId } of ofStage) tellReplica(turn, stage, minerId);
}

/** A member without a place in the attempt gets those of its stages, to warm up; one that was convicted in it does not. */
export function warmUp(turn: Turn, member: Member): void {
  const own = turn.state.replicas.flat().filter(({ minerId }) => minerId === member.minerId);
  if (own.some(({ convicted }) => convicted)) return;
  for (const stage of member.stages) {
    const replica = newReplica(turn.state, member, stage, "warming");
    const before = replicaOf(turn.state, stage, member.minerId);
    if (before === undefined) {
      const ofStage = [...(turn.state.replicas[stage] ?? []), replica];
      turn.change({ replicas: turn.state.replicas.with(stage, ofStage) });
    } else if (before.part === "out") {
      // What it contributed before it was lost still counts.
      turn.changeReplica(stage, member.minerId, { ...replica, contribution: before.contribution });
    }
  }
}

/** Replicas must start from the same weights: those that were merged, or at first whatever the seed gave the first one. */
export function recordReady(turn: Turn, stage: number, replica: Replica, weightsHash: BlobHash): boolean {
  if (replica.ready !== null) return false;
  const expected = expectedHash(turn.state, stage);
  if (expected !== undefined && expected !== weightsHash)
    turn.dropAsUnreliable(stage, replica.minerId, "it loaded other weights than the rest.");
  else {
    turn.changeReplica(stage, replica.minerId, { ready: weightsHash });
    getInStep(turn, stage, replica.minerId);
  }
  // It may have missed what the others were told.
  if (replica.part === "warming") tellReplica(turn, stage, replica.minerId);
  return true;
}

/** Of the weights that the epoch starts from; undefined while nobody has any. */
export function expectedHash({ start, replicas }: RunState, stage: number): BlobHash | undefined {
  if (start !== null) return start.stages[stage]?.weightsHash;
  return replicas[stage]?.find(({ part, ready }) => part !== "out" && ready !== null)?.ready ?? undefined;
}

export function advancePreparing(state: RunState, phase: PhaseOf<"preparing">, atMs: number): Next | null {
  if (state.intent !== "run") return { to: "abandon" };
  const lost = fallBackIfLost(state);
  if (lost !== null) return lost;
  const uncovered = stageWithout(state, ({ part }) => part !== "out");
  if (uncovered !== undefined)
    return { to: "retry", why: `${stageName(state, uncovered)} has no replica that is ready.` };
  const isReady = ({ part, ready }: Replica) => part !== "out" && ready !== null;
  if (!everyLive(state, isReady) || stageWithout(state, isReady) !== undefined) return null;
  const allReady = state.replicas.every((replicas) => replicas.every((one) => one.part === "out" || isReady(one)));
  if (allReady) return { to: "train" };
  if (phase.lingerUntilMs === null) return { to: "linger" };
  return atMs >= phase.lingerUntilMs ? { to: "train" } : null;
}

export function linger(turn: Turn): void {
  const { phase, epochs, replicas } = turn.state;
  if (phase.name !== "preparing") return;
  const taking = replicas.flat().filter(({ part }) => part !== "out");
  const late = taking.filter(({ ready }) => ready === null).length;
  const [last] = epochs.slice(-1);
  // To wait costs everybody's time; to go on costs the epoch's time of those who only warm up meanwhile.
  const waitMs = last === undefined ? firstLingerMs : (last.durationMs * late) / taking.length;
  turn.change({ phase: { ...phase, lingerUntilMs: Math.min(phase.deadlineMs, Math.ceil(turn.atMs + waitMs)) } });
}

/** Who is late may get in step for the next epoch; where nobody is in time, the attempt has failed. */
export function expirePreparing(turn: Turn): void {
  for (const [stage, replicas] of turn.state.replicas.entries()) {
    const taking = replicas.filter(({ part }) => part !== "out");
    const late = taking.filter(({ ready }) => ready === null);
    const hasFailed = late.length === taking.length;
    for (const { minerId, part } of late) {
      if (part === "warming" && !hasFailed) continue;
      turn.dropAsUnreliable(stage, minerId, "it was not ready in time.");
      if (!hasFailed) turn.changeReplica(stage, minerId, { part: "warming" });
    }
  }
}
