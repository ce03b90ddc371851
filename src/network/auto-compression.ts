/** Options that leave compression to the plan, with what it chooses filled in where nothing else was asked for. */
import { presets } from "../compute/model/presets.ts";
import { unmeasuredLink } from "../protocol/link-report.ts";
import type { Plan } from "../protocol/plan-view.ts";
import {
  type ExchangeName,
  exchangeNameSchema,
  type ModelConfig,
  type TrainingConfig,
} from "../protocol/run-config.ts";
import { planRun } from "./plan/plan.ts";
import type { RunOptions } from "./run-options.ts";

/** `training`: as it would be uncompressed. Nobody's link is known before a run begins: homes are assumed. */
export function withPlan(
  options: RunOptions,
  model: ModelConfig,
  training: TrainingConfig,
  stages: number,
): RunOptions {
  if (options.compression !== "auto") return options;
  const { compression, bottleneckRank, stepsPerEpoch } = planRun({
    model,
    training,
    stages,
    replicas: options.replicas,
    blockTokensPerSecond: null,
    link: unmeasuredLink,
    isNew: options.from === undefined && options.bottleneck === undefined,
  });
  const isExact = training.mode === "sync";
  const { boundary, exchange, merge } = compression;
  const rank = options.from === undefined ? (options.bottleneck ?? bottleneckRank ?? 0) : undefined;
  return {
    ...options,
    boundaryForward: options.boundaryForward ?? boundary.forward,
    boundaryBackward: options.boundaryBackward ?? boundary.backward,
    ...(rank !== undefined && { bottleneck: rank }),
    ...(!isExact && {
      exchange: options.exchange ?? exchangeNameOf(exchange),
      ...(options.exchange === undefined && exchange !== null && { exchangeLag: options.exchangeLag ?? exchange.lag }),
      stepsPerEpoch: options.stepsPerEpoch ?? stepsPerEpoch,
      ...(options.mergeCodec === undefined && { merge }),
    }),
  };
}

/** The options of a run that a plan is asked for on its own, as they would be without one. */
export function planFor(options: Pick<RunOptions, "preset" | "stages" | "replicas">, link: Plan["link"]): Plan {
  const { model, training, stages } = presets[options.preset];
  return planRun({
    model,
    training,
    stages: Math.min(options.stages ?? stages, model.layers),
    replicas: options.replicas,
    blockTokensPerSecond: null,
    link,
    isNew: true,
  });
}

function exchangeNameOf(exchange: Plan["compression"]["exchange"]): ExchangeName {
  if (exchange === null) return "off";
  const { codec } = exchange;
  return exchangeNameSchema.parse(codec.kind === "dense" ? `dense${codec.bits}` : codec.kind);
}
