/** The end of an epoch: the checkpoint stands, work is credited, the next epoch may begin. */
import type { Checkpoint } from "../../../protocol/run-view.ts";
import { modelParameters } from "./definition.ts";
import { historyLimits, remember } from "./history.ts";
import { type Contribution, type PhaseOf, targetReached } from "./state.ts";
import type { Turn } from "./turn.ts";
import { standBy } from "./waiting.ts";

/** What a token that passed through the whole model earns. */
const microCreditsPerToken = 1000;

export function recordCheckpoint(turn: Turn): void {
  const { state } = turn;
  const { phase } = state;
  if (phase.name !== "merging") return;
  const contributionsOf = (stage: number) => phase.contributions.filter((one) => one.stage === stage);
  const lastStage = contributionsOf(state.stages.length - 1);
  const tokens = state.tokens + sum(contributionsOf(0).map((one) => one.tokens));
  const contributors = phase.contributions.filter((one) => one.tokens > 0).length;
  const trainLossNats = meanLossNats(lastStage);

  for (const contribution of phase.contributions) credit(turn, phase, contribution);

  const checkpoint: Checkpoint = {
    epoch: state.epoch + 1,
    tokens,
    stages: phase.stages.flatMap((merge) =>
      merge.step === "stored" ? [{ weights: merge.weights, optimizer: merge.optimizer }] : [],
    ),
  };
  const finished = {
    epoch: state.epoch,
    tokens,
    trainLossNats,
    finishedAtMs: turn.atMs,
    durationMs: Math.max(0, turn.atMs - state.epochSinceMs),
    contributors,
  };
  const loss = trainLossNats === null ? "" : `, training loss ${trainLossNats.toFixed(3)} nats`;
  turn.log("info", `Epoch ${state.epoch} is merged: ${tokens} tokens so far, ${contributors} contributors${loss}.`);
  turn.effects.push({ type: "checkpoint-recorded", checkpoint });
  turn.change({
    tokens,
    checkpoint,
    previousCheckpoint: state.checkpoint,
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

function credit(turn: Turn, phase: PhaseOf<"merging">, contribution: Contribution): void {
  const { minerId, stage, tokens } = contribution;
  const microCredits = earnedMicroCredits(turn, stage, tokens);
  if (microCredits === 0) return;
  const merge = phase.stages[stage];
  const agrees = merge?.step === "stored" && phase.merged[minerId] === merge.weightsHash;
  const { credits } = turn.state;
  turn.change({ credits: { ...credits, [minerId]: (credits[minerId] ?? 0) + microCredits } });
  turn.effects.push({
    type: "credit",
    receipt: {
      minerId,
      at: turn.at,
      stage,
      tokens,
      // A replica that was lost after it had contributed is credited all the same; its receipt says what was checked.
      checks: agrees ? ["contribution-size", "merged-hash-agrees"] : ["contribution-size"],
      microCredits,
      atMs: turn.atMs,
    },
  });
}

/** The stage's share of what the tokens earn, rounded down. Whole numbers throughout: the product exceeds 2⁵³. */
function earnedMicroCredits(turn: Turn, stage: number, tokens: number): number {
  const { stages, definition } = turn.state;
  const stageParameters = BigInt(stages[stage]?.parameters ?? 0);
  const earned = BigInt(tokens) * BigInt(microCreditsPerToken) * stageParameters;
  return Number(earned / BigInt(modelParameters(definition)));
}

function meanLossNats(contributions: readonly Contribution[]): number | null {
  const measured = contributions.filter((one) => one.lossSumNats !== null && one.tokens > 0);
  if (measured.length === 0) return null;
  return sum(measured.map((one) => one.lossSumNats ?? 0)) / sum(measured.map((one) => one.tokens));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
