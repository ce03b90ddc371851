/** From members to places and back: what the placer is asked, and what becomes of its answer. */
import { placementView } from "../placement/explain.ts";
import {
  type Assignment,
  type MinerResources,
  type PlacementRequest,
  place,
  placeNewcomer,
} from "../placement/placement.ts";
import { typicalRate } from "./speed.ts";
import type { Member, Replica, RunState } from "./state.ts";
import type { Turn } from "./turn.ts";

/** The fastest replica's, and everyone's where speeds must not matter. */
const fullWeight = 1000;

/** Places everyone anew whose session is open. */
export function placeMembers(turn: Turn): void {
  const { members, away } = turn.state;
  const absent = new Set(away.map(({ minerId }) => minerId));
  const present = members.filter(({ minerId }) => !absent.has(minerId));
  const request = requestFor(turn.state, present, typicalOf(present));
  const placement = place(request);
  const stagesOf = new Map(placement.assignments.map(({ minerId, stages }) => [minerId, stages]));
  turn.change({
    members: members.map((member) => ({ ...member, stages: stagesOf.get(member.minerId) ?? member.stages })),
    placement: present.length === 0 ? null : placementView(request, placement),
  });
}

/** Stages for one more, while the others stay where they are. */
export function stagesForNewcomer(state: RunState, newcomer: Member): readonly number[] {
  const others = state.members.filter(({ minerId }) => minerId !== newcomer.minerId);
  // Where it is needed does not depend on what their speeds are multiples of.
  return placeNewcomer(requestFor(state, others, 1), resourcesOf(newcomer, 1), newcomer.stages);
}

/** `typical`: tokens per second through one block, of the median member. */
function requestFor(state: RunState, members: readonly Member[], typical: number): PlacementRequest {
  // Before the first epoch nobody has anything to keep.
  const holding = state.epoch > 0 || state.phase.name !== "waiting";
  return {
    stages: state.needs,
    miners: members.map((member) => resourcesOf(member, typical)),
    current: holding ? members.map(({ minerId, stages }): Assignment => ({ minerId, stages })) : [],
  };
}

/** Tokens per second through one block, by the median member. */
function typicalOf(members: readonly Member[]): number {
  const measured = typicalRate(members.map(({ measuredRate }) => measuredRate));
  return measured ?? typicalRate(members.map(({ probedRate }) => probedRate)) ?? 1;
}

function resourcesOf(member: Member, typical: number): MinerResources {
  return {
    minerId: member.minerId,
    memoryBytes: member.memoryLimitBytes,
    maximumStages: member.maximumStages,
    blockTokensPerSecond: member.placedSpeed * typical,
    linkBytesPerSecond: member.placedLinkBytesPerSecond,
    reliable: !member.unreliable,
  };
}

/** A member's replica of a stage, with the part of its memory that the stage may take: in proportion to what its stages need. */
export function newReplica(state: RunState, member: Member, stage: number, part: Replica["part"]): Replica {
  const need = (index: number) => state.needs[index]?.memoryBytes ?? 0;
  const needed = member.stages.reduce((sum, index) => sum + need(index), 0);
  return {
    minerId: member.minerId,
    part,
    convicted: false,
    away: false,
    weight: fullWeight,
    memoryLimitBytes: Math.floor((member.memoryLimitBytes * need(stage)) / Math.max(1, needed)),
    ready: null,
    sourceDone: false,
    contribution: null,
    merged: null,
  };
}

/**
 * How a stage's work is shared out among its replicas: by what each one's miner has time for beside its other stages. In `sync` mode,
 * where a run is not to depend on measurements, everybody gets as much.
 */
export function weigh(state: RunState, stages: readonly (readonly Replica[])[]): readonly (readonly Replica[])[] {
  if (state.definition.training.mode === "sync") return stages;
  const spare = new Map(
    state.members.map(({ minerId, speed, stages: held }) => [
      minerId,
      speed / held.reduce((sum, stage) => sum + (state.needs[stage]?.work ?? 0), 0),
    ]),
  );
  return stages.map((replicas) => {
    const rates = replicas.map(({ minerId }) => spare.get(minerId) ?? 0);
    const fastest = Math.max(...rates);
    return replicas.map((replica, index) => {
      const share = (rates[index] ?? 0) / fastest;
      return { ...replica, weight: Math.max(1, Math.round(fullWeight * share)) };
    });
  });
}
