/** The end of an epoch: all stages are merged, and the next epoch may begin. Its credits follow when a checkpoint has it. */
import type { MinerId } from "../../../protocol/ids.ts";
import { watchBoundaries } from "./boundary-watch.ts";
import { modelParameters } from "./definition.ts";
import { historyLimits, remember } from "./history.ts";
import { type MergedWork, mergedWork } from "./merged-work.ts";
import { confirmedOutliers } from "./merging.ts";
import { pastMerges } from "./past-merges.ts";
import { adaptToLinks, reviewPlan } from "./planning.ts";
import { isLive, replicaOf } from "./replicas.ts";
import { measuredMembers } from "./speed.ts";
import type { StageMerge } from "./stage-merge.ts";
import type { StageStart } from "./starting-state.ts";
import {
  type Contribution,
  type Member,
  memberOf,
  type RunState,
  stageName,
  targetReached,
  type Uncredited,
} from "./state.ts";
import type { Turn } from "./turn.ts";
import { standBy } from "./waiting.ts";

/** What else a computer does shows most in short times. */
const shortestMeasurementMs = 1000;

/** What a token that passed through the whole model earns. */
const microCreditsPerToken = 1000;

export function concludeEpoch(turn: Turn): void {
  const { state } = turn;
  const { phase } = state;
  if (phase.name !== "merging") return;
  const merges = phase.stages;
  const contributionsOf = (stage: number) =>
    state.replicas[stage]?.flatMap(({ contribution }) => contribution ?? []) ?? [];
  const work = merges.map(mergedWork);
  const tokens = state.tokens + sum(work[0]?.map((one) => one.tokens) ?? []);
  const trainLossNats = meanLossNats(contributionsOf(state.stages.length - 1));
  const partitionsLost = sum(merges.map(({ partitions }) => partitions.filter(({ hash }) => hash === null).length));
  const merged = work.flat().filter((one) => one.tokens > 0);
  const contributors = new Set(merged.map(({ minerId }) => minerId)).size;
  const finished = {
    epoch: state.epoch,
    tokens,
    trainLossNats,
    finishedAtMs: turn.atMs,
    durationMs: Math.max(0, turn.atMs - state.epochSinceMs),
    contributors,
    partitionsLost,
  };
  noteOutliers(turn, merges);
  noteMissing(turn, work);
  adaptToLinks(turn);
  watchBoundaries(turn, state.replicas);
  reviewPlan(turn);
  const loss = trainLossNats === null ? "" : `, training loss ${trainLossNats.toFixed(3)} nats`;
  turn.log("info", `Epoch ${state.epoch} is merged: ${tokens} tokens so far, ${contributors} contributors${loss}.`);
  if (partitionsLost > 0)
    turn.log("warning", `${partitionsLost} partitions kept their previous value: nobody could average them.`);
  turn.change({
    tokens,
    partitionsLost: state.partitionsLost + partitionsLost,
    uncredited: [...state.uncredited, ...earnings(state, merges, work)],
    start: {
      epoch: state.epoch + 1,
      tokens,
      mergedAttempt: state.attempt,
      stages: merges.flatMap((merge, stage) => startOf(state, stage, merge)),
    },
    members: membersAfter(turn.state, work),
    epochs: remember(state.epochs, finished, historyLimits.epochs),
    epoch: state.epoch + 1,
    attempt: 0,
  });

  if (targetReached(turn.state)) {
    turn.change({ intent: "finish" });
    turn.log("info", `The run reached its target of ${state.definition.targetTokens} tokens.`);
  }
  standBy(turn, { notBeforeMs: turn.atMs, gatherUntilMs: turn.atMs });
}

function earnings(
  state: RunState,
  merges: readonly StageMerge[],
  work: readonly (readonly MergedWork[])[],
): readonly Uncredited[] {
  const { runId } = state.definition;
  const at = { runId, epoch: state.epoch, attempt: state.attempt };
  return merges.flatMap(({ step }, stage) =>
    (work[stage] ?? []).flatMap(({ minerId, tokens }): Uncredited[] => {
      const { merged, convicted } = replicaOf(state, stage, minerId) ?? { merged: null, convicted: false };
      const microCredits = earnedMicroCredits(state, stage, tokens);
      if (microCredits === 0 || convicted) return [];
      // A replica that was lost after it had contributed is credited all the same; its receipt says what was checked.
      const agrees = step.name === "agreed" && merged === step.weightsHash;
      const checks = agrees ? (["contribution-size", "merged-hash-agrees"] as const) : (["contribution-size"] as const);
      return [{ minerId, at, stage, tokens, checks, microCredits }];
    }),
  );
}

/** The stage's share of what the tokens earn, rounded down. Whole numbers throughout: the product exceeds 2⁵³. */
function earnedMicroCredits({ stages, definition }: RunState, stage: number, tokens: number): number {
  const stageParameters = BigInt(stages[stage]?.parameters ?? 0);
  const earned = BigInt(tokens) * BigInt(microCreditsPerToken) * stageParameters;
  return Number(earned / BigInt(modelParameters(definition)));
}

function startOf(state: RunState, stage: number, merge: StageMerge): StageStart[] {
  if (merge.step.name !== "agreed") return [];
  const { weightsHash } = merge.step;
  const replicas = state.replicas[stage] ?? [];
  const holders = replicas.filter(({ part, merged }) => part !== "out" && merged === weightsHash);
  const inStep = holders.map(({ minerId }) => minerId);
  const merges = pastMerges(state, stage, merge);
  return [{ weightsHash, merges, inStep, keeper: null, asked: [], stored: null }];
}

/** Left out by both owners of a partition: seldom by chance. */
function noteOutliers(turn: Turn, merges: readonly StageMerge[]): void {
  for (const [stage, merge] of merges.entries())
    for (const minerId of confirmedOutliers(merge)) {
      const member = memberOf(turn.state, minerId);
      if (member === undefined) continue;
      const outliers = member.outliers + 1;
      turn.changeMember(minerId, { outliers });
      const where = stageName(turn.state, stage).toLowerCase();
      turn.log(
        "warning",
        `Parts of ${member.name}'s contribution to ${where} were left out as outliers (${outliers} so far).`,
      );
    }
}

/** Who said that it contributed, but whose slices could not be had: it handed them to nobody, or has a bad link. */
function noteMissing(turn: Turn, work: readonly (readonly MergedWork[])[]): void {
  for (const [stage, ofStage] of work.entries())
    for (const { minerId, missing } of ofStage) {
      const member = memberOf(turn.state, minerId);
      if (missing === 0 || member === undefined) continue;
      turn.changeMember(minerId, { unreliable: true });
      const where = stageName(turn.state, stage).toLowerCase();
      turn.log(
        "warning",
        `${missing} slices of ${member.name}'s contribution to ${where} could not be had: they are not credited.`,
      );
    }
}

/** What the epoch showed of everyone: how fast it is, and that it can be counted on. */
function membersAfter(
  { members, replicas, needs }: RunState,
  work: readonly (readonly MergedWork[])[],
): readonly Member[] {
  const withheld = new Set(work.flatMap((ofStage) => ofStage.flatMap((one) => (one.missing > 0 ? one.minerId : []))));
  const worked = new Map<MinerId, { blocks: number; computeMs: number; reliably: boolean }>();
  for (const [stage, ofStage] of replicas.entries())
    for (const replica of ofStage) {
      const { tokens, computeMs } = replica.contribution ?? { tokens: 0, computeMs: 0 };
      const before = worked.get(replica.minerId) ?? { blocks: 0, computeMs: 0, reliably: true };
      worked.set(replica.minerId, {
        blocks: before.blocks + tokens * (needs[stage]?.work ?? 0),
        computeMs: before.computeMs + computeMs,
        reliably: before.reliably && isLive(replica) && !withheld.has(replica.minerId),
      });
    }
  const rates = new Map<MinerId, number>();
  for (const [minerId, { blocks, computeMs }] of worked)
    if (blocks > 0 && computeMs >= shortestMeasurementMs) rates.set(minerId, (1000 * blocks) / computeMs);
  return measuredMembers(members, rates).map((member) =>
    member.unreliable && worked.get(member.minerId)?.reliably ? { ...member, unreliable: false } : member,
  );
}

function meanLossNats(contributions: readonly Contribution[]): number | null {
  const measured = contributions.filter((one) => one.lossSumNats !== null && one.tokens > 0);
  if (measured.length === 0) return null;
  return sum(measured.map((one) => one.lossSumNats ?? 0)) / sum(measured.map((one) => one.tokens));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
