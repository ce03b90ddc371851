/** Who is there: members come with `join`, go with `leave` or their session, and keep a stage meanwhile. */
import type { MinerId } from "../../../protocol/ids.ts";
import { placeNewcomer } from "../placement/place.ts";
import { prepareMember } from "./preparing.ts";
import { memberOf, stageName } from "./state.ts";
import type { Turn } from "./turn.ts";
import { reasonOf } from "./view.ts";

/** Far more than leave within one epoch; who has been away for longer is a newcomer. */
const keptDeparted = 256;

export function addMember(turn: Turn, minerId: MinerId, name: string): void {
  const { state } = turn;
  if (memberOf(state, minerId) !== undefined) return;
  const formerStage = state.departed.find((one) => one.minerId === minerId)?.stage;
  const stage = placeNewcomer(state.stages.length, state.members, formerStage);
  turn.change({
    members: [...state.members, { minerId, name, stage, unreliable: false }],
    departed: state.departed.filter((one) => one.minerId !== minerId),
  });
  turn.log("info", `${name} joined: ${stageName(state, stage)}.`);
  if (state.phase.name === "preparing") prepareMember(turn, minerId);
  else turn.send(minerId, { type: "idle", reason: standByReason(turn, stage) });
}

/** The member gives its place up. */
export function leave(turn: Turn, minerId: MinerId, reason: string): void {
  const member = memberOf(turn.state, minerId);
  if (member === undefined) return;
  forgetMember(turn, minerId);
  turn.log("info", `${member.name} left ${stageName(turn.state, member.stage)}${reason && `: ${reason}`}`);
}

/** The member is gone without a word. */
export function lose(turn: Turn, minerId: MinerId): void {
  const member = memberOf(turn.state, minerId);
  if (member === undefined) return;
  forgetMember(turn, minerId);
  turn.log(
    "warning",
    `${member.name} of ${stageName(turn.state, member.stage).toLowerCase()} is lost: its connection closed.`,
  );
}

/** Takes a member out, remembering the stage it may come back to. */
export function forgetMember(turn: Turn, minerId: MinerId): void {
  const { members, departed, epoch } = turn.state;
  const member = memberOf(turn.state, minerId);
  if (member === undefined) return;
  const { name, stage } = member;
  turn.change({
    members: members.filter((one) => one.minerId !== minerId),
    departed: [...departed, { minerId, name, stage, epoch }].slice(-keptDeparted),
  });
  turn.dropFromRoster(minerId);
}

function standByReason(turn: Turn, stage: number): string {
  const { phase } = turn.state;
  const epochIsRunning = phase.name === "training" || phase.name === "uploading" || phase.name === "merging";
  return epochIsRunning ? `${stageName(turn.state, stage)}: joins at the next epoch.` : reasonOf(turn.state);
}
