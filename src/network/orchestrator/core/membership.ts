/**
 * Who is there: members come with `join` and go with `leave`. Who merely loses its session keeps its places for a grace, and goes on
 * where it was if it still holds their state.
 */

import type { ClientMessage } from "../../../protocol/client-messages.ts";
import type { DeviceReport } from "../../../protocol/device-report.ts";
import { type MinerId, type PlaceRef, samePlace } from "../../../protocol/ids.ts";
import { tellMember } from "./commands.ts";
import { getOutOfStep, tellKeeper } from "./keeping.ts";
import { stagesForNewcomer } from "./placing.ts";
import { warmUp } from "./preparing.ts";
import { placedLink, speedOfNewcomer } from "./speed.ts";
import { mergedPlace } from "./start.ts";
import { epochRuns, isAway, type Member, memberOf, placeRef, type RunState, stageName } from "./state.ts";
import type { Turn } from "./turn.ts";
import { placeSoon } from "./waiting.ts";

/** Who has been away for longer than so many others is a newcomer. */
const keptDeparted = 1024;

export function join(
  turn: Turn,
  minerId: MinerId,
  name: string,
  { device, held }: Extract<ClientMessage, { type: "join" }>,
): void {
  const member = memberOf(turn.state, minerId);
  if (member === undefined) admit(turn, minerId, name, device);
  else {
    updateDevice(turn, member, device);
    if (isAway(turn.state, minerId)) comeBack(turn, minerId, held);
    else takePlaces(turn, minerId);
  }
  tellKeeper(turn, minerId);
  tellMember(turn, minerId);
}

function admit(turn: Turn, minerId: MinerId, name: string, device: DeviceReport): void {
  const { members, departed } = turn.state;
  const { memoryLimitBytes, maximumStages, blockTokensPerSecond: probedRate } = device;
  const speed = speedOfNewcomer(members, probedRate);
  const member: Member = {
    minerId,
    name,
    memoryLimitBytes,
    maximumStages,
    probedRate,
    measuredRate: null,
    speed,
    placedSpeed: speed,
    link: null,
    placedLinkBytesPerSecond: null,
    stages: departed.find((one) => one.minerId === minerId)?.stages ?? [],
    unreliable: false,
    outliers: 0,
    convictions: 0,
    refusedClaims: 0,
  };
  turn.change({
    members: [...members, member],
    departed: departed.filter((one) => one.minerId !== minerId),
  });
  if (epochRuns(turn.state)) turn.changeMember(minerId, { stages: stagesForNewcomer(turn.state, member) });
  takePlaces(turn, minerId);
  const places = memberOf(turn.state, minerId)?.stages ?? [];
  turn.log("info", `${name} joined${epochRuns(turn.state) ? `: ${placeNames(turn.state, places)}` : ""}.`);
}

/** What the device's owner allows may have changed; what it can do is known better from its work. */
function updateDevice(turn: Turn, member: Member, device: DeviceReport): void {
  const { memoryLimitBytes, maximumStages, blockTokensPerSecond: probedRate } = device;
  const now = { memoryLimitBytes, maximumStages, probedRate };
  if (Object.entries(now).every(([key, value]) => member[key as keyof typeof now] === value)) return;
  turn.changeMember(member.minerId, now);
  placeSoon(turn);
}

/** Its connection was measured: nobody is moved because of it before the next placing. */
export function recordLink(
  turn: Turn,
  minerId: MinerId,
  { type: _, ...link }: Extract<ClientMessage, { type: "link" }>,
): void {
  const member = memberOf(turn.state, minerId);
  if (member !== undefined)
    turn.changeMember(minerId, { link, placedLinkBytesPerSecond: placedLink(turn.state.members, member, link) });
}

/** In mid-epoch, whoever has no part in one of its stages warms up there. */
function takePlaces(turn: Turn, minerId: MinerId): void {
  const member = memberOf(turn.state, minerId);
  if (member === undefined) return;
  if (epochRuns(turn.state)) warmUp(turn, member);
  else placeSoon(turn);
}

/** The miner has a session again. `held`: what it still holds; undefined: what it had, for it reports from there. */
export function comeBack(turn: Turn, minerId: MinerId, held: readonly PlaceRef[] | undefined): void {
  const { away, phase, start } = turn.state;
  turn.change({ away: away.filter((one) => one.minerId !== minerId) });
  for (const stage of memberOf(turn.state, minerId)?.stages ?? []) {
    const at = placeRef(turn.state, stage);
    const merged = start && mergedPlace(turn.state, start, stage);
    if (held !== undefined && !held.some((place) => samePlace(place, at) || (merged && samePlace(place, merged))))
      getOutOfStep(turn, stage, minerId);
    if (held === undefined || held.some((place) => samePlace(place, at)))
      turn.changeReplica(stage, minerId, { away: false });
    else if (phase.name === "preparing") turn.changeReplica(stage, minerId, { away: false, ready: null });
    else loseState(turn, stage, minerId);
  }
  takePlaces(turn, minerId);
}

/** A miner that was started anew: it is in the epoch to warm up, unless it was out before. */
function loseState(turn: Turn, stage: number, minerId: MinerId): void {
  const replica = turn.state.replicas[stage]?.find((one) => one.minerId === minerId);
  if (replica === undefined) return;
  const part = replica.part === "out" ? "out" : "warming";
  turn.changeReplica(stage, minerId, { part, away: false, ready: null, merged: null });
}

/** The member gives its places up. */
export function leave(turn: Turn, minerId: MinerId, reason: string): void {
  const member = memberOf(turn.state, minerId);
  if (member === undefined) return;
  forget(turn, member);
  turn.log("info", `${member.name} left ${placeNames(turn.state, member.stages)}${reason && `: ${reason}`}`);
}

/** The member's session is gone, for a moment or for good. */
export function lose(turn: Turn, minerId: MinerId): void {
  const { definition } = turn.state;
  if (memberOf(turn.state, minerId) === undefined || isAway(turn.state, minerId)) return;
  goAway(turn, minerId, turn.atMs + definition.timeouts.graceMs);
  placeSoon(turn);
}

/** The orchestrator was gone, and with it everybody's session. */
export function loseAll(turn: Turn): void {
  const { definition, members, replicas } = turn.state;
  const untilMs = turn.atMs + definition.timeouts.restartGraceMs;
  turn.change({
    away: members.map(({ minerId }) => ({ minerId, untilMs })),
    replicas: replicas.map((ofStage) => ofStage.map((replica) => ({ ...replica, away: true }))),
  });
  turn.rosterChanged();
  placeSoon(turn);
}

function goAway(turn: Turn, minerId: MinerId, untilMs: number): void {
  turn.change({ away: [...turn.state.away, { minerId, untilMs }] });
  for (const stage of memberOf(turn.state, minerId)?.stages ?? []) turn.changeReplica(stage, minerId, { away: true });
}

/** Who has not come back within its grace is gone. */
export function expireGraces(turn: Turn): void {
  const overdue = turn.state.away.filter(({ untilMs }) => turn.atMs >= untilMs);
  for (const { minerId } of overdue) {
    const member = memberOf(turn.state, minerId);
    if (member === undefined) continue;
    forget(turn, member);
    turn.log("warning", `${member.name} of ${placeNames(turn.state, member.stages)} is lost: its connection closed.`);
  }
}

/** Takes a member out, remembering the stages it may come back to. */
function forget(turn: Turn, { minerId, name, stages }: Member): void {
  const { members, away, departed, epoch } = turn.state;
  turn.change({
    members: members.filter((one) => one.minerId !== minerId),
    away: away.filter((one) => one.minerId !== minerId),
    departed: [...departed, { minerId, name, stages, epoch }].slice(-keptDeparted),
  });
  for (const stage of turn.state.stages.keys()) getOutOfStep(turn, stage, minerId);
  for (const stage of stages) turn.changeReplica(stage, minerId, { part: "out", away: false });
  placeSoon(turn);
}

/** "stage 2 of 3", "stages 1 and 2 of 3". */
function placeNames(state: RunState, stages: readonly number[]): string {
  const [first] = stages;
  if (first === undefined) return "no stage";
  if (stages.length === 1) return stageName(state, first).toLowerCase();
  const numbers = stages.map((stage) => stage + 1);
  return `stages ${numbers.slice(0, -1).join(", ")} and ${numbers.at(-1)} of ${state.stages.length}`;
}
