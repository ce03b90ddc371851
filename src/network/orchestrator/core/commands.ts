/**
 * What the orchestrator wants of a replica at this moment. Sent when it begins to want it, and again to who comes back, reports
 * late or repeats itself: that is all it takes for lost and doubled messages not to matter.
 */
import { assertNever } from "../../../protocol/assert-never.ts";
import { mostMergers } from "../../../protocol/gateway-messages.ts";
import type { MinerId } from "../../../protocol/ids.ts";
import type { OrchestratorMessage } from "./event.ts";
import { applyMessage, reduceMessage } from "./merge-commands.ts";
import { epochTraining } from "./planning.ts";
import { idleReason, reasonOf } from "./reason.ts";
import { isLive, replicaOf } from "./replicas.ts";
import { blobsOf, stateBlobBytes } from "./starting-state.ts";
import { epochRuns, memberOf, placeRef, type Replica, type RunState } from "./state.ts";
import type { Turn } from "./turn.ts";

type Place = Extract<OrchestratorMessage, { type: "prepare" }>;

/** Null: to go on with what it does, or to wait. */
export function commandTo(state: RunState, stage: number, replica: Replica): OrchestratorMessage | null {
  const { phase } = state;
  if (!epochRuns(state) || replica.part === "out") return null;
  if (replica.ready === null) return prepareMessage(state, stage, replica);
  switch (phase.name) {
    case "waiting":
    case "storing":
    case "paused":
    case "finished":
    case "preparing":
      return null;
    case "training":
      return startMessage(state, stage, replica);
    case "uploading":
      return replica.part === "live" && replica.contribution === null ? uploadMessage(state, stage) : null;
    case "merging": {
      const merge = phase.stages[stage];
      if (merge === undefined) return null;
      if (merge.step.name === "reducing")
        return replica.part === "live" ? reduceMessage(state, stage, merge, replica) : null;
      return replica.merged === null ? applyMessage(state, stage, merge) : null;
    }
    default:
      return assertNever(phase);
  }
}

/** Tells a miner what is wanted of it in each of its places, or that it has none. */
export function tellMember(turn: Turn, minerId: MinerId): void {
  const { state } = turn;
  const member = memberOf(state, minerId);
  if (member === undefined) return;
  if (state.phase.name === "storing") return; // it keeps what it holds
  if (!epochRuns(state) || member.stages.length === 0)
    turn.send(minerId, { type: "idle", reason: idleReason(state, member) ?? reasonOf(state) });
  else for (const stage of member.stages) tellReplica(turn, stage, minerId);
}

export function tellReplica(turn: Turn, stage: number, minerId: MinerId): void {
  const replica = replicaOf(turn.state, stage, minerId);
  const command = replica && commandTo(turn.state, stage, replica);
  if (command) turn.send(minerId, command);
}

function prepareMessage(state: RunState, stage: number, replica: Replica): OrchestratorMessage | null {
  const { definition, stages } = state;
  const plan = stages[stage];
  const checkpoint = checkpointFor(state, stage, replica.minerId);
  if (plan === undefined || checkpoint === undefined) return null;
  return {
    type: "prepare",
    at: placeRef(state, stage),
    stage: plan.spec,
    model: definition.model,
    training: epochTraining(state),
    dataset: definition.dataset,
    checkpoint,
    memoryLimitBytes: replica.memoryLimitBytes,
  };
}

/** Null: the initial weights. Undefined: the replica does not hold the state, and nobody can hand it out yet. */
function checkpointFor(run: RunState, stage: number, minerId: MinerId): Place["checkpoint"] | undefined {
  if (run.start === null) return null;
  const state = run.start.stages[stage];
  if (state === undefined) return undefined;
  const blobs = blobsOf(state);
  const keeper = state.keeper?.minerId;
  if (blobs !== null) {
    const holders = keeper === undefined || keeper === minerId ? [] : [keeper];
    return { ...blobs, holders, merges: state.merges, mergers: mergersFor(run, stage, minerId) };
  }
  if (!state.inStep.includes(minerId)) return undefined;
  const { weights: bytes } = stateBlobBytes(run.definition.training, run.stages[stage]?.parameters ?? 0);
  const weights = { hash: state.weightsHash, bytes };
  return { weights, optimizer: null, moments: null, holders: [], merges: [], mergers: [] };
}

/** Replicas that have brought the stage to where it is, and may have the last merges still: the first few, since each replica asks. */
function mergersFor({ start, replicas }: RunState, stage: number, minerId: MinerId): readonly MinerId[] {
  const inStep = start?.stages[stage]?.inStep ?? [];
  const mergers: MinerId[] = [];
  for (const one of replicas[stage] ?? []) {
    if (mergers.length === mostMergers) break;
    const isHere = isLive(one) && !one.away && one.minerId !== minerId;
    if (isHere && (one.ready !== null || inStep.includes(one.minerId))) mergers.push(one.minerId);
  }
  return mergers;
}

/** For who is on the roster that was announced; who is not yet is told with the next one. */
function startMessage(state: RunState, stage: number, { minerId }: Replica): OrchestratorMessage | null {
  const { announced } = state.roster;
  const isOnRoster = announced.stages[stage]?.some((one) => one.minerId === minerId);
  if (!isOnRoster) return null;
  return { type: "start", at: placeRef(state, stage), roster: announced, boundary: state.boundaryWatch.formats };
}

function uploadMessage(state: RunState, stage: number): OrchestratorMessage | null {
  const { phase } = state;
  if (phase.name !== "uploading") return null;
  return { type: "upload", at: placeRef(state, stage), replicas: phase.listed[stage] ?? [] };
}
