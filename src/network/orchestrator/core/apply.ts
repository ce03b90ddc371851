/**
 * The orchestrator's core: how a run changes when something happens. A pure function of state and event — no clock, no
 * randomness, no input or output — so that a restart is a replay, and a bug report is a log.
 *
 * Every event is worked out in two steps. First it is *recorded*: a replica is ready, a contribution lies in the store, a
 * miner is gone, time is up. Then the run *advances*: as long as what the current phase waits for is there, it passes on to
 * the next. No rule asks which event made it true, and so no order of events can slip between the rules.
 *
 * One file per phase states what begins it, what it records, when it is over, and who is left behind at its deadline.
 * This folder may import `protocol`, `placement`, the pure `plan` and the pure model layout of `compute`; nothing else.
 */
import { assertNever } from "../../../protocol/assert-never.ts";
import type { SteerAction } from "../../../protocol/owner-commands.ts";
import type { Evaluation } from "../../../protocol/run-view.ts";
import { recordCheckpoint } from "./checkpoint.ts";
import { concludeEpoch } from "./conclude.ts";
import type { RunEvent, Transition } from "./event.ts";
import { dropCheckpoint, fallBack } from "./fall-back.ts";
import { historyLimits, remember } from "./history.ts";
import {
  abandonUpload,
  advanceKeeping,
  askForSnapshot,
  beginUpload,
  expireKeeping,
  prolongKeeping,
  releaseKeeper,
} from "./keeping.ts";
import { expireGraces, lose, loseAll } from "./membership.ts";
import { advanceMerging, agree, beginApplying, beginMerging, expireMerging, reviewStage } from "./merging.ts";
import type { Next } from "./next.ts";
import { advancePreparing, beginPreparing, expirePreparing, linger } from "./preparing.ts";
import { receive } from "./receive.ts";
import { announceRoster, rosterIsDue } from "./roster.ts";
import { type RunState, targetReached } from "./state.ts";
import { advanceStoring, beginStoring } from "./storing.ts";
import { advanceTraining, beginTraining, expireTraining } from "./training.ts";
import { Turn } from "./turn.ts";
import { advanceUploading, beginUploading, expireUploading } from "./uploading.ts";
import { abandonEpoch, advanceWaiting, dismissMembers, rest, retryEpoch, standBy, tendWaiting } from "./waiting.ts";

/** Never throws, whatever the order of events. */
export function apply(state: RunState, event: RunEvent): Transition<RunState> {
  const turn = new Turn(state, event.atMs);
  record(turn, event);
  for (let next = advance(turn); next !== null; next = advance(turn)) go(turn, next);
  return { state: turn.state, effects: turn.effects };
}

function record(turn: Turn, event: RunEvent): void {
  switch (event.type) {
    case "message":
      receive(turn, event.from, event.name, event.message);
      break;
    case "session-closed":
      lose(turn, event.minerId);
      break;
    case "deadline":
      expire(turn);
      break;
    case "steered":
      steer(turn, event.action);
      break;
    case "retargeted":
      retarget(turn, event.targetTokens);
      break;
    case "evaluated":
      recordEvaluation(turn, event.evaluation);
      break;
    case "noted":
      turn.log(event.level, event.text);
      break;
    case "restarted":
      restart(turn);
      break;
    case "checkpoint-damaged":
      dropCheckpoint(turn);
      break;
    default:
      assertNever(event);
  }
}

/** What the current phase calls for; null: to wait for the next event. */
function advance(turn: Turn): Next | null {
  if (turn.state.phase.name === "waiting") tendWaiting(turn, turn.state.phase);
  const { state, atMs } = turn;
  const { phase, intent } = state;
  if (rosterIsDue(state, atMs)) return { to: "announce-roster" };
  const keeping = advanceKeeping(state);
  if (keeping !== null) return keeping;
  switch (phase.name) {
    case "waiting":
      return advanceWaiting(state, phase, atMs);
    case "preparing":
      return advancePreparing(state, phase, atMs);
    case "training":
      return advanceTraining(state, phase);
    case "uploading":
      return advanceUploading(state, phase);
    case "merging":
      return advanceMerging(state, phase);
    case "storing":
      return advanceStoring(state);
    case "paused":
      return intent === "pause" ? null : { to: "resume" };
    case "finished":
      return null;
    default:
      return assertNever(phase);
  }
}

function go(turn: Turn, next: Next): void {
  switch (next.to) {
    case "dismiss":
      dismissMembers(turn);
      break;
    case "prepare":
      beginPreparing(turn);
      break;
    case "linger":
      linger(turn);
      break;
    case "train":
      beginTraining(turn);
      break;
    case "announce-roster":
      announceRoster(turn);
      break;
    case "upload":
      beginUploading(turn, next.plannedTokens);
      break;
    case "merge":
      beginMerging(turn, next);
      break;
    case "review":
      reviewStage(turn, next.stage);
      break;
    case "apply":
      beginApplying(turn, next.stage);
      break;
    case "agree":
      agree(turn, next.stage, next.weightsHash);
      break;
    case "conclude":
      concludeEpoch(turn);
      break;
    case "ask-for-snapshot":
      askForSnapshot(turn, next.stage, next.minerId);
      break;
    case "release-keeper":
      releaseKeeper(turn, next.stage);
      break;
    case "begin-upload":
      beginUpload(turn);
      break;
    case "abandon-upload":
      abandonUpload(turn, next.why);
      break;
    case "fall-back":
      fallBack(turn, next.why);
      break;
    case "store":
      beginStoring(turn);
      break;
    case "record":
      recordCheckpoint(turn);
      break;
    case "retry":
      retryEpoch(turn, next.why);
      break;
    case "abandon":
      abandonEpoch(turn);
      break;
    case "rest":
      rest(turn);
      break;
    case "resume":
      standBy(turn, { notBeforeMs: turn.atMs, gatherUntilMs: turn.atMs });
      break;
    default:
      assertNever(next);
  }
}

/** Those are gone who did not come back in time, and those out of the epoch who did not answer; the rest then go on. */
function expire(turn: Turn): void {
  expireGraces(turn);
  expireKeeping(turn);
  const { phase } = turn.state;
  if (phase.deadlineMs === null || turn.atMs < phase.deadlineMs) return;
  if (phase.name === "preparing") expirePreparing(turn);
  if (phase.name === "training") expireTraining(turn, phase);
  if (phase.name === "uploading") expireUploading(turn);
  if (phase.name === "merging") expireMerging(turn, phase);
}

/** Once per epoch: after a restart the last checkpoint may be evaluated again. */
function recordEvaluation(turn: Turn, evaluation: Evaluation): void {
  const { evaluations } = turn.state;
  if (!evaluations.some((one) => one.epoch === evaluation.epoch))
    turn.change({ evaluations: remember(evaluations, evaluation, historyLimits.evaluations) });
}

const intents = { pause: "pause", resume: "run", finish: "finish" } as const;
const intentLog = { pause: "paused it", run: "resumed it", finish: "ended it" };

function steer(turn: Turn, action: SteerAction): void {
  const { phase, intent } = turn.state;
  const wanted = intents[action];
  if (phase.name === "finished" || intent === wanted) return;
  turn.change({ intent: wanted });
  turn.log("info", `The run's owner ${intentLog[wanted]}.`);
}

/** A run that ended at its old target goes on towards the new one. */
function retarget(turn: Turn, targetTokens: number | null): void {
  const { definition, phase, intent } = turn.state;
  const hasEnded = phase.name === "finished" || (phase.name === "storing" && intent === "finish");
  const endedAtTarget = hasEnded && targetReached(turn.state);
  turn.change({ definition: { ...definition, targetTokens } });
  turn.log("info", targetTokens === null ? "The run has no target any more." : `The target is ${targetTokens} tokens.`);
  if (targetReached(turn.state)) turn.change({ intent: "finish" });
  else if (endedAtTarget) {
    turn.change({ intent: "run" });
    standBy(turn, { notBeforeMs: turn.atMs, gatherUntilMs: null });
  }
}

/** Every session is gone, for how long nobody knows: members get a grace to come back, and the phase its whole time again. */
function restart(turn: Turn): void {
  turn.log("warning", "The orchestrator was started again.");
  loseAll(turn);
  prolongKeeping(turn);
  const { phase, definition } = turn.state;
  if (phase.name === "waiting" || phase.name === "storing" || phase.name === "paused" || phase.name === "finished")
    return;
  const timeoutMs = definition.timeouts[phaseTimeouts[phase.name]];
  turn.change({ phase: { ...phase, deadlineMs: Math.max(phase.deadlineMs, turn.atMs + timeoutMs) } });
}

const phaseTimeouts = {
  preparing: "prepareMs",
  training: "epochMs",
  uploading: "uploadMs",
  merging: "mergeMs",
} as const;
