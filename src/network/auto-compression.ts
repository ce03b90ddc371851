/** Options that leave compression to the plan, with what it chooses filled in where nothing else was asked for. */
import { unmeasuredLink } from "../protocol/link-report.ts";
import type { Plan } from "../protocol/plan-view.ts";
import {
  type ExchangeName,
  exchangeNameSchema,
  type ModelConfig,
  type TrainingConfig,
} from "../protocol/run-config.ts";
import type { RunDefinition } from "./orchestrator/core/definition.ts";
import type { Batch } from "./plan/batch.ts";
import type { Decisions } from "./plan/open-choices.ts";
import { configured, type PlanRequest, planRun } from "./plan/plan.ts";
import type { RunOptions } from "./run-options.ts";

/** What is to be planned for. */
export interface PlannedRun {
  /** As it would be without the plan. */
  readonly model: ModelConfig;
  readonly training: TrainingConfig;
  readonly stages: number;
}

/** Null: nothing is left to it. Nobody's link, device or memory is known before a run begins: homes are assumed. */
export function planOf(options: RunOptions, run: PlannedRun): Plan | null {
  if (options.compression !== "auto") return null;
  return planRun(planRequest(options, run, unmeasuredLink, decisionsOf(options, run)));
}

/** What a plan chooses. */
type Chosen = Pick<Plan, "compression" | "bottleneckRank" | "stepsPerEpoch" | keyof Batch>;

/** What follows from a plan, where nothing else was asked for. */
export function withPlan(options: RunOptions, plan: Chosen): RunOptions {
  const { boundary, exchange, merge } = plan.compression;
  return {
    ...options,
    boundaryForward: options.boundaryForward ?? boundary.forward,
    boundaryBackward: options.boundaryBackward ?? boundary.backward,
    ...(options.from === undefined && { bottleneck: options.bottleneck ?? plan.bottleneckRank ?? 0 }),
    sequencesPerMicrobatch: options.sequencesPerMicrobatch ?? plan.sequencesPerMicrobatch,
    microbatchesPerStep: options.microbatchesPerStep ?? plan.microbatchesPerStep,
    ...(options.mode !== "sync" && {
      stepsPerEpoch: options.stepsPerEpoch ?? plan.stepsPerEpoch,
      ...(options.exchange === undefined && {
        exchange: exchangeNameOf(exchange),
        exchangeLag: options.exchangeLag ?? exchange?.lag,
      }),
      ...(options.mergeCodec === undefined && { merge }),
    }),
  };
}

/** The plan of a run stays what it was: for another target, or by what was measured since, it would be another one today. */
export function withStoredPlan(options: RunOptions, { adapts, model, training }: RunDefinition): RunOptions {
  if (options.compression !== "auto" || adapts === undefined) return options;
  const chosen = { ...training, bottleneckRank: model.bottleneck?.rank ?? null };
  return { ...withPlan(options, chosen), compression: "off" };
}

/** What of it may follow the links as they are measured: what the plan chose, rather than its owner. */
export function adaptsOf(options: RunOptions, run: PlannedRun): RunDefinition["adapts"] {
  if (options.compression !== "auto" || run.training.mode === "sync") return undefined;
  const { forward, backward, stepsPerEpoch } = decisionsOf(options, run);
  return [
    ...(forward === undefined && backward === undefined ? (["boundary-formats"] as const) : []),
    ...(stepsPerEpoch === undefined ? (["steps-per-epoch"] as const) : []),
  ];
}

export function planRequest(
  { replicas, tokens }: Pick<RunOptions, "replicas" | "tokens">,
  { model, training, stages }: PlannedRun,
  link: PlanRequest["link"],
  decided: Decisions,
): PlanRequest {
  return {
    model,
    training,
    stages,
    replicas,
    link,
    decided,
    tokenBudget: tokens ?? null,
    blockTokensPerSecond: null,
    memoryLimitBytes: null,
  };
}

/** By flags, and by a model that was trained already: it keeps the channels that it has. */
function decisionsOf(options: RunOptions, { model, training }: PlannedRun): Decisions {
  const { forward, backward, exchange, merge, batch, stepsPerEpoch, bottleneckRank } = configured({ model, training });
  const isBatchAsked = options.sequencesPerMicrobatch !== undefined || options.microbatchesPerStep !== undefined;
  const isRankAsked = options.from !== undefined || options.bottleneck !== undefined;
  const askedRank = options.bottleneck === undefined ? bottleneckRank : options.bottleneck || null;
  return {
    ...(options.boundaryForward !== undefined && { forward }),
    ...(options.boundaryBackward !== undefined && { backward }),
    ...(isRankAsked && { bottleneckRank: askedRank }),
    ...(options.exchange !== undefined && { exchange }),
    ...(options.mergeCodec !== undefined && { merge }),
    ...(isBatchAsked && { batch }),
    ...(options.stepsPerEpoch !== undefined && { stepsPerEpoch }),
  };
}

function exchangeNameOf(exchange: Plan["compression"]["exchange"]): ExchangeName {
  if (exchange === null) return "off";
  const { codec } = exchange;
  return exchangeNameSchema.parse(codec.kind === "dense" ? `dense${codec.bits}` : codec.kind);
}
