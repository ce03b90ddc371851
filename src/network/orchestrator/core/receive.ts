/** A miner's message is recorded where the current phase waits for it; anything late, early or repeated changes nothing. */
import { assertNever } from "../../../protocol/assert-never.ts";
import { type MinerId, sameEpoch } from "../../../protocol/ids.ts";
import type { MinerMessage } from "./event.ts";
import { addMember, leave } from "./membership.ts";
import { recordMerged, recordStored } from "./merging.ts";
import { recordReady } from "./preparing.ts";
import { rosterMembers } from "./state.ts";
import { recordSourceDone } from "./training.ts";
import type { Turn } from "./turn.ts";
import { recordContribution } from "./uploading.ts";

export function receive(turn: Turn, from: MinerId, name: string, message: MinerMessage): void {
  if (message.type === "join") addMember(turn, from, name);
  else if (message.type === "leave") leave(turn, from, message.reason);
  else if (sameEpoch(message.at, turn.at) && rosterMembers(turn.state).includes(from))
    recordAnswer(turn, from, message);
}

function recordAnswer(turn: Turn, from: MinerId, message: Exclude<MinerMessage, { type: "join" | "leave" }>): void {
  const { phase } = turn.state;
  switch (message.type) {
    case "ready":
      if (phase.name === "preparing") recordReady(turn, phase, from, message.weightsHash);
      break;
    case "source-done":
      if (phase.name === "training") recordSourceDone(turn, phase, from, message);
      break;
    case "contributed":
      if (phase.name === "uploading") recordContribution(turn, phase, from, message);
      break;
    case "merged":
      if (phase.name === "merging") recordMerged(turn, phase, from, message.weightsHash);
      break;
    case "stored":
      if (phase.name === "merging") recordStored(turn, phase, from, message);
      break;
    case "failed":
      turn.dropAsUnreliable(from, message.failure.message);
      break;
    default:
      assertNever(message);
  }
}
