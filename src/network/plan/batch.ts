/**
 * How many tokens an optimizer step may take, and in what microbatches. A step costs a pipeline its filling and emptying, and its
 * replicas an exchange, however many tokens it takes; more tokens per step make both cheaper, and what is learned of each token less.
 */
import { stageMemory } from "../../compute/model/memory-plan.ts";
import { stageBudget } from "../../compute/model/stage-budget.ts";
import { cutIntoStages, parameterCount } from "../../compute/model/stages.ts";
import type { ModelConfig, TrainingConfig } from "../../protocol/run-config.ts";
import type { Evidence } from "./choices.ts";

/** Of each source, in every optimizer step. */
export type Batch = Pick<TrainingConfig, "sequencesPerMicrobatch" | "microbatchesPerStep">;

export interface BatchRequest {
  readonly model: ModelConfig;
  readonly training: TrainingConfig;
  readonly stages: number;
  readonly replicas: number;
  /** That the run shall train; null: it has no end. */
  readonly tokenBudget: number | null;
  /** That a miner gives its stage; null: not known. */
  readonly memoryLimitBytes: number | null;
}

/** Below, matrices have too few rows for kernels to run at their best, and every message its overhead. */
const fewestMicrobatchTokens = 512;
/** Times the tokens per step that were asked for. */
const growths = [1, 2, 4, 8];
/** Of the loss, that more tokens per step may cost. */
const mostGapPercent = 4;
/** Tokens for each parameter that make the best of an amount of arithmetic: Hoffmann 2022, table 3. */
const tokensPerParameter = 20;
/** What a home computer has to spare where nobody has said. */
const homeMemoryBytes = 8 * 2 ** 30;
/** A percent of the loss is worth some five percent of the tokens, in a small model's first hours. */
export const tokensPerLossPercent = 0.05;

/** As it was asked for, and what else is sane. */
export function batchesFor(request: BatchRequest): readonly Batch[] {
  const asked: Batch = request.training;
  const sequences = sequencesOf(asked);
  const candidates = microbatchSizes(request.training).flatMap((sequencesPerMicrobatch) =>
    growths.map((growth) => ({
      sequencesPerMicrobatch,
      microbatchesPerStep: (growth * sequences) / sequencesPerMicrobatch,
    })),
  );
  return candidates.filter(
    (batch) =>
      isSame(batch, asked) || (batchEvidence(request, batch).lossGapPercent <= mostGapPercent && fits(request, batch)),
  );
}

/**
 * Bi 2024 ("DeepSeek LLM", eq. 1): with C FLOPs of training, 0.292 · C^0.3271 tokens per step are best. Taken as the critical batch of
 * McCandlish 2018 (eq. 2.11: steps of B tokens need 1 + B ⁄ B_critical times the tokens), it agrees with what 1,024 and 2,048 tokens
 * per step came to in the prototype (width 256, 0.25 M tokens: 2,048 cost 4.4 %, and this says 3.3 %).
 */
export function batchEvidence({ model, training, replicas, tokenBudget }: BatchRequest, batch: Batch): Evidence {
  const parameters = parameterCount(model);
  const flops = 6 * parameters * (tokenBudget ?? tokensPerParameter * parameters);
  const critical = 0.292 * flops ** 0.3271;
  const tokensOf = (one: Batch) => replicas * sequencesOf(one) * training.sequenceLength;
  const [now, asked] = [tokensOf(batch), tokensOf(training)];
  if (now === asked) return { lossGapPercent: 0, measured: "as many tokens per step as were asked for" };
  const moreTokens = Math.log((1 + now / critical) / (1 + asked / critical));
  return { lossGapPercent: moreTokens / tokensPerLossPercent, measured: null };
}

export function sequencesOf({ sequencesPerMicrobatch, microbatchesPerStep }: Batch): number {
  return sequencesPerMicrobatch * microbatchesPerStep;
}

/** Halves of what was asked for, while they are whole and not too short. */
function microbatchSizes({ sequencesPerMicrobatch, sequenceLength }: TrainingConfig): readonly number[] {
  const sizes = [sequencesPerMicrobatch];
  for (let size = sequencesPerMicrobatch / 2; Number.isInteger(size); size /= 2)
    if (size * sequenceLength >= fewestMicrobatchTokens) sizes.push(size);
  return sizes;
}

function isSame(a: Batch, b: Batch): boolean {
  return a.sequencesPerMicrobatch === b.sequencesPerMicrobatch && a.microbatchesPerStep === b.microbatchesPerStep;
}

/** In what a miner has, or takes no more than what was asked for does. */
function fits({ model, training, stages, memoryLimitBytes }: BatchRequest, batch: Batch): boolean {
  const limitBytes = memoryLimitBytes ?? homeMemoryBytes;
  return cutIntoStages(model, stages).every((stage) => {
    const bytesWith = (part: Batch) => {
      const work = { model, stage, training: { ...training, ...part } };
      const { microbatchesInFlight } = stageBudget(work, limitBytes);
      const needs = { microbatchesInFlight, workspaceBytes: 0 };
      return Math.min(...[true, false].map((recompute) => stageMemory(work, needs, recompute).totalBytes));
    };
    return (
      bytesWith(batch) <= Math.max(stageBudget({ stage, training }, limitBytes).memoryLimitBytes, bytesWith(training))
    );
  });
}
