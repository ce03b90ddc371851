/**
 * Sees to it that what an epoch starts from outlives the replicas that merged it, while they train on. One of each stage takes a
 * snapshot, at once, before it trains: joiners load that. When all stages have one, they are put into the blob store; that takes as
 * long as a home's uplink takes, epochs may pass meanwhile, and of those only snapshots are taken. When all stages are stored the
 * checkpoint is recorded, and the newest start is next. Who is lost is replaced by another replica that still holds that very state;
 * where there is none, the next epoch's start takes over.
 */
import type { BlobRef, MinerId, PlaceRef } from "../../../protocol/ids.ts";
import { tellReplica } from "./commands.ts";
import type { Next } from "./next.ts";
import { isRecorded, mergedPlace } from "./start.ts";
import {
  type CheckpointUpload,
  type SnapshotBlobs,
  type StageStart,
  type StageUpload,
  type StartingState,
  type StateBlobs,
  stateBlobBytes,
} from "./starting-state.ts";
import { isAway, memberOf, type RunState, stageName } from "./state.ts";
import type { Turn } from "./turn.ts";

/** An upload in the background leaves the link to the training, but for an eighth; and homes send more slowly than they receive. */
const backgroundPatience = 16;
/** Nothing else is sent before the run rests. */
const restingPatience = 4;

/** What is to be done about the state that the run may have to go on from; null: to wait. */
export function advanceKeeping(state: RunState): Next | null {
  const { start, upload, phase } = state;
  for (const [stage, { keeper, stored }] of start?.stages.entries() ?? []) {
    if (keeper !== null && memberOf(state, keeper.minerId) === undefined) return { to: "release-keeper", stage };
    if (keeper !== null || stored !== null) continue;
    const minerId = candidateFor(state, stage);
    if (minerId !== undefined) return { to: "ask-for-snapshot", stage, minerId };
  }
  if (upload === null) return start !== null && !isRecorded(state) && isWhole(start) ? { to: "begin-upload" } : null;
  const lost = upload.stages.find(({ storer, isStored }) => !isStored && memberOf(state, storer) === undefined);
  if (lost !== undefined) return { to: "abandon-upload", why: "who stored a stage is lost" };
  // Before the run rests there is nothing to wait for but the newest.
  if (phase.name === "storing" && upload.epoch !== start?.epoch)
    return { to: "abandon-upload", why: "the run is to rest" };
  return upload.stages.every(({ isStored }) => isStored) ? { to: "record" } : null;
}

function isWhole({ stages }: StartingState): boolean {
  return stages.every(({ keeper }) => keeper?.blobs != null);
}

/** Who still holds a stage's starting state and has not been asked, rather one that uploads nothing else. */
function candidateFor(state: RunState, stage: number): MinerId | undefined {
  const { start, upload } = state;
  const { inStep = [], asked = [] } = start?.stages[stage] ?? {};
  const candidates = inStep.filter((one) => !asked.includes(one) && !isAway(state, one));
  const busy = new Set(upload?.stages.flatMap(({ storer, isStored }) => (isStored ? [] : [storer])));
  return candidates.find((one) => !busy.has(one)) ?? candidates[0];
}

/** Asked before it is told to train on: a miner does one after the other. */
export function askForSnapshot(turn: Turn, stage: number, minerId: MinerId): void {
  const { timeouts } = turn.state.definition;
  const untilMs = turn.atMs + timeouts.mergeMs;
  changeStage(turn, stage, ({ asked }) => ({
    keeper: { minerId, blobs: null, untilMs },
    asked: [...asked, minerId],
  }));
  tellKeeper(turn, minerId);
}

export function releaseKeeper(turn: Turn, stage: number): void {
  changeStage(turn, stage, () => ({ keeper: null }));
}

/** What the miner is to do with the snapshots that it was asked for. Said again to who comes back. */
export function tellKeeper(turn: Turn, minerId: MinerId): void {
  const { start, upload } = turn.state;
  for (const [stage, { keeper, weightsHash, stored }] of start?.stages.entries() ?? [])
    if (start !== null && keeper?.minerId === minerId && stored === null)
      turn.send(minerId, { type: "take-snapshot", at: mergedPlace(turn.state, start, stage), weightsHash });
  for (const [stage, { storer, isStored }] of upload?.stages.entries() ?? [])
    if (upload !== null && storer === minerId && !isStored)
      turn.send(minerId, { type: "store-checkpoint", at: mergedPlace(turn.state, upload, stage) });
}

/** `blobs` null: the miner does not hold that state, or not any longer. False when it changes nothing. */
export function recordSnapshot(turn: Turn, from: MinerId, at: PlaceRef, blobs: SnapshotBlobs | null): boolean {
  const { start, upload } = turn.state;
  if (blobs === null && upload !== null && isUploadedBy(upload, from, at)) abandonUpload(turn, "a snapshot was lost");
  const keeper = start?.stages[at.stage]?.keeper;
  if (start === null || keeper?.minerId !== from || !isAt(start, at)) return false;
  if (blobs === null) releaseKeeper(turn, at.stage);
  else if (keeper.blobs !== null) return false;
  else if (!fits(turn.state, at.stage, blobs)) {
    distrust(
      turn,
      from,
      `it has another state of ${stageName(turn.state, at.stage).toLowerCase()} than was agreed on.`,
    );
    releaseKeeper(turn, at.stage);
  } else {
    changeStage(turn, at.stage, () => ({ keeper: { minerId: from, blobs, untilMs: null } }));
    // Who does not hold the state could not be prepared before.
    for (const { minerId, part, ready } of turn.state.replicas[at.stage] ?? [])
      if (part !== "out" && ready === null) tellReplica(turn, at.stage, minerId);
  }
  return true;
}

export function beginUpload(turn: Turn): void {
  const { start, definition, phase } = turn.state;
  if (start === null) return;
  const { epoch, tokens, mergedAttempt } = start;
  const patience = phase.name === "storing" ? restingPatience : backgroundPatience;
  turn.change({
    upload: {
      epoch,
      tokens,
      mergedAttempt,
      deadlineMs: turn.atMs + patience * definition.timeouts.mergeMs,
      stages: start.stages.flatMap(({ keeper }): StageUpload[] =>
        keeper?.blobs == null ? [] : [uploadBy(keeper.minerId, keeper.blobs)],
      ),
    },
  });
  for (const [stage, { storer }] of turn.state.upload?.stages.entries() ?? [])
    turn.send(storer, { type: "store-checkpoint", at: mergedPlace(turn.state, start, stage) });
}

function uploadBy(storer: MinerId, { weights, optimizer }: StateBlobs): StageUpload {
  return { weights, optimizer, storer, isStored: false };
}

/** False when it changes nothing. */
export function recordStored(turn: Turn, from: MinerId, at: PlaceRef, blobs: StateBlobs): boolean {
  const { upload, start } = turn.state;
  const stage = upload?.stages[at.stage];
  if (upload === null || stage === undefined || !isUploadedBy(upload, from, at)) return false;
  if (isSame(stage.weights, blobs.weights) && isSame(stage.optimizer, blobs.optimizer))
    turn.change({ upload: { ...upload, stages: upload.stages.with(at.stage, { ...stage, isStored: true }) } });
  else {
    distrust(turn, from, "it stored something else than it had said.");
    if (start?.stages[at.stage]?.keeper?.minerId === from) releaseKeeper(turn, at.stage);
    abandonUpload(turn, "something else was stored");
  }
  return true;
}

export function abandonUpload(turn: Turn, why: string): void {
  const { upload } = turn.state;
  if (upload === null) return;
  turn.change({ upload: null });
  turn.log("warning", `The checkpoint of epoch ${upload.epoch - 1} is not stored: ${why}. A later one follows.`);
  for (const [stage, { storer, isStored }] of upload.stages.entries())
    if (!isStored) turn.send(storer, { type: "abandon-checkpoint", at: mergedPlace(turn.state, upload, stage) });
}

/** Who has not done its part is not waited for. */
export function expireKeeping(turn: Turn): void {
  const { start, upload } = turn.state;
  for (const [stage, { keeper }] of start?.stages.entries() ?? []) {
    if (keeper?.untilMs == null || turn.atMs < keeper.untilMs) continue;
    distrust(turn, keeper.minerId, `it took no snapshot of ${stageName(turn.state, stage).toLowerCase()} in time.`);
    releaseKeeper(turn, stage);
  }
  if (upload === null || turn.atMs < upload.deadlineMs) return;
  for (const [stage, { storer, isStored }] of upload.stages.entries()) {
    if (isStored) continue;
    distrust(turn, storer, `it did not store ${stageName(turn.state, stage).toLowerCase()} in time.`);
    if (start?.stages[stage]?.keeper?.minerId === storer) releaseKeeper(turn, stage);
  }
  abandonUpload(turn, "it took too long");
}

/** The orchestrator was gone for a while: everybody has the whole time again. */
export function prolongKeeping(turn: Turn): void {
  const { start, upload, definition } = turn.state;
  const untilMs = turn.atMs + definition.timeouts.mergeMs;
  const stages = start?.stages.map((stage): StageStart => {
    const { keeper } = stage;
    return keeper?.untilMs == null ? stage : { ...stage, keeper: { ...keeper, untilMs } };
  });
  if (start !== null && stages !== undefined) turn.change({ start: { ...start, stages } });
  if (upload !== null)
    turn.change({ upload: { ...upload, deadlineMs: turn.atMs + backgroundPatience * definition.timeouts.mergeMs } });
}

/** The replica holds the starting state now. */
export function getInStep(turn: Turn, stage: number, minerId: MinerId): void {
  changeStage(turn, stage, ({ inStep }) => (inStep.includes(minerId) ? {} : { inStep: [...inStep, minerId] }));
}

/** It does not hold it any more. */
export function getOutOfStep(turn: Turn, stage: number, minerId: MinerId): void {
  changeStage(turn, stage, ({ inStep }) =>
    inStep.includes(minerId) ? { inStep: inStep.filter((one) => one !== minerId) } : {},
  );
}

/** Nobody does: they train on, or have been sent away. */
export function allOutOfStep(turn: Turn, stages: Iterable<number> = turn.state.stages.keys()): void {
  for (const stage of stages) changeStage(turn, stage, ({ inStep }) => (inStep.length === 0 ? {} : { inStep: [] }));
}

function isUploadedBy(upload: CheckpointUpload, from: MinerId, at: PlaceRef): boolean {
  const stage = upload.stages[at.stage];
  return isAt(upload, at) && stage?.storer === from && !stage.isStored;
}

function isAt({ epoch, mergedAttempt }: Pick<StartingState, "epoch" | "mergedAttempt">, at: PlaceRef): boolean {
  return at.epoch === epoch - 1 && at.attempt === mergedAttempt;
}

function fits({ definition, stages, start }: RunState, stage: number, blobs: SnapshotBlobs): boolean {
  const { weights, optimizer, moments } = blobs;
  const expected = stateBlobBytes(definition.training, stages[stage]?.parameters ?? 0);
  return (
    weights.hash === start?.stages[stage]?.weightsHash &&
    weights.bytes === expected.weights &&
    optimizer.bytes === expected.optimizer &&
    (moments?.bytes ?? null) === expected.moments
  );
}

function isSame(a: BlobRef, b: BlobRef): boolean {
  return a.hash === b.hash && a.bytes === b.bytes;
}

/** It stays in the epoch: what it trains is checked there. */
function distrust(turn: Turn, minerId: MinerId, why: string): void {
  const member = memberOf(turn.state, minerId);
  if (member === undefined) return;
  turn.changeMember(minerId, { unreliable: true });
  turn.log("warning", `${member.name} is not relied on: ${why}`);
}

function changeStage(turn: Turn, stage: number, change: (before: StageStart) => Partial<StageStart>): void {
  const { start } = turn.state;
  const before = start?.stages[stage];
  if (start === null || before === undefined) return;
  const part = change(before);
  if (Object.keys(part).length > 0)
    turn.change({ start: { ...start, stages: start.stages.with(stage, { ...before, ...part }) } });
}
