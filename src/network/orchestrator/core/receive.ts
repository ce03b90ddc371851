/**
 * A miner's report is recorded where the current phase waits for it. Anything late, early or repeated changes nothing, and is
 * answered by what is wanted of the replica now.
 */
import { assertNever } from "../../../protocol/assert-never.ts";
import { type MinerId, sameEpoch } from "../../../protocol/ids.ts";
import { tellMember, tellReplica } from "./commands.ts";
import { convict } from "./convicting.ts";
import type { MinerMessage } from "./event.ts";
import { getOutOfStep, recordSnapshot, recordStored } from "./keeping.ts";
import { comeBack, join, leave, recordLink } from "./membership.ts";
import { recordMerged, recordReduced } from "./merging.ts";
import { recordReady } from "./preparing.ts";
import { isLive, replicaOf } from "./replicas.ts";
import { isAway, memberOf, type Replica } from "./state.ts";
import { recordSourceDone } from "./training.ts";
import type { Turn } from "./turn.ts";
import { recordContribution } from "./uploading.ts";

type Report = Exclude<MinerMessage, { type: "join" | "leave" | "link" | "accuse" }>;
type Kept = Extract<Report, { type: "snapshot" | "stored" }>;

export function receive(turn: Turn, from: MinerId, name: string, message: MinerMessage): void {
  if (message.type === "join") join(turn, from, name, message);
  else if (message.type === "leave") leave(turn, from, message.reason);
  else if (message.type === "link") recordLink(turn, from, message);
  else if (message.type === "accuse") convict(turn, message);
  else {
    // Its `join` may have been lost, but whoever reports is there.
    if (isAway(turn.state, from)) comeBack(turn, from, undefined);
    report(turn, from, message);
  }
}

function report(turn: Turn, from: MinerId, message: Report): void {
  const { stage } = message.at;
  if (message.type === "snapshot" || message.type === "stored") keep(turn, from, message);
  else reportOfEpoch(turn, from, message, stage);
}

/** These are about an epoch that was merged before. */
function keep(turn: Turn, from: MinerId, message: Kept): void {
  if (message.at.runId !== turn.at.runId) return;
  if (message.type === "snapshot") recordSnapshot(turn, from, message.at, message.state);
  else recordStored(turn, from, message.at, message);
}

function reportOfEpoch(turn: Turn, from: MinerId, message: Exclude<Report, Kept>, stage: number): void {
  const replica = sameEpoch(message.at, turn.at) ? replicaOf(turn.state, stage, from) : undefined;
  if (replica !== undefined) {
    if (replica.part !== "out" && !record(turn, stage, replica, message)) tellReplica(turn, stage, from);
  } else if (memberOf(turn.state, from) === undefined)
    turn.send(from, { type: "idle", reason: "This miner has not joined." });
  else tellMember(turn, from);
}

/** False when the report changes nothing. */
function record(turn: Turn, stage: number, replica: Replica, message: Exclude<Report, Kept>): boolean {
  const { phase } = turn.state;
  const { minerId } = replica;
  switch (message.type) {
    case "ready":
      return recordReady(turn, stage, replica, message.weightsHash);
    case "source-done":
      return phase.name === "training" && recordSourceDone(turn, stage, replica, message);
    case "contributed":
      return phase.name === "uploading" && recordContribution(turn, phase, stage, replica, message);
    case "reduced":
      return phase.name === "merging" && isLive(replica) && recordReduced(turn, phase, stage, minerId, message);
    case "merged":
      return phase.name === "merging" && recordMerged(turn, stage, minerId, message.weightsHash);
    case "failed":
      getOutOfStep(turn, stage, minerId);
      turn.dropAsUnreliable(stage, minerId, message.failure.message);
      return true;
    default:
      return assertNever(message);
  }
}
