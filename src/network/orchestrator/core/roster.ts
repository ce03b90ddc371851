/** The roster: who is live, as the miners are told. */
import type { MinerId } from "../../../protocol/ids.ts";
import type { Roster, RosterReplica } from "../../../protocol/roster.ts";
import { isLive } from "./replicas.ts";
import { perStage, placeRef, type Replica, type RunState } from "./state.ts";
import type { Turn } from "./turn.ts";

/** Between two: a swarm that comes back after the network was gone is told of in a few rosters, not in one for each miner. */
const announcementIntervalMs = 250;

export function rosterIsDue({ roster }: RunState, atMs: number): boolean {
  return roster.dueMs !== null && atMs >= roster.dueMs;
}

/** Training begins, and those who are sources now share out its microbatches. */
export function announceStart(turn: Turn): void {
  const sources = turn.state.replicas[0]?.filter(isLive).map(entryOf) ?? [];
  announce(turn, sources, turn.atMs, () => "start");
}

/** Somebody left or came back. While the epoch trains, who was not on the last roster is told to start. */
export function announceRoster(turn: Turn): void {
  const { roster, phase } = turn.state;
  const before = roster.announced.stages.map((replicas) => new Set(replicas.map(({ minerId }) => minerId)));
  announce(turn, roster.announced.sources, turn.atMs + announcementIntervalMs, (stage, minerId) =>
    phase.name === "training" && !before[stage]?.has(minerId) ? "start" : "roster",
  );
}

/** The epoch is over: nobody is on the roster. */
export function clearRoster(turn: Turn): void {
  const { definition, roster } = turn.state;
  const announced = { version: roster.announced.version + 1, stages: perStage(definition), sources: [] };
  turn.change({ roster: { ...roster, announced, dueMs: null } });
}

function announce(
  turn: Turn,
  sources: Roster["sources"],
  notBeforeMs: number,
  type: (stage: number, minerId: MinerId) => "start" | "roster",
): void {
  const { replicas, roster } = turn.state;
  const announced: Roster = {
    version: roster.announced.version + 1,
    stages: replicas.map((ofStage) => ofStage.filter((one) => isLive(one) && !one.away).map(entryOf)),
    sources,
  };
  const { formats: boundary } = turn.state.boundaryWatch;
  turn.change({ roster: { announced, dueMs: null, notBeforeMs } });
  for (const [stage, ofStage] of announced.stages.entries()) {
    const at = placeRef(turn.state, stage);
    for (const { minerId } of ofStage) {
      const signed = { at, roster: announced };
      turn.send(
        minerId,
        type(stage, minerId) === "start" ? { type: "start", ...signed, boundary } : { type: "roster", ...signed },
      );
    }
  }
}

function entryOf({ minerId, weight }: Replica): RosterReplica {
  return { minerId, weight };
}
