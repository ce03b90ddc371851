/** How replicas average their steps within an epoch, as people ask for it, and what else follows from it. */
import { largestExchangeGroup } from "../protocol/exchange-messages.ts";
import { FailureError } from "../protocol/failure.ts";
import type { Compression, ExchangeName, TrainingConfig, VectorCodec } from "../protocol/run-config.ts";

const exchangeCodecs: Readonly<Record<ExchangeName, VectorCodec | null>> = {
  off: null,
  f32: { kind: "f32" },
  dense1: { kind: "dense", bits: 1 },
  dense2: { kind: "dense", bits: 2 },
  dense4: { kind: "dense", bits: 4 },
  dense8: { kind: "dense", bits: 8 },
};

export interface ExchangeOptions {
  /** Undefined: as the preset has it. */
  readonly exchange?: ExchangeName;
  readonly exchangeLag?: 0 | 1;
}

/** Throws `FailureError` (invalid-option) for what makes no sense: replicas in `sync` mode average every step by merging. */
export function exchangeOf(
  { exchange: name, exchangeLag }: ExchangeOptions,
  mode: TrainingConfig["mode"],
  preset: Compression["exchange"],
): Compression["exchange"] {
  const codec = name === undefined ? (preset?.codec ?? null) : exchangeCodecs[name];
  if (mode === "sync") {
    if ((name ?? "off") !== "off" || exchangeLag !== undefined)
      throw new FailureError(
        "invalid-option",
        "In sync mode replicas merge at every step: there is nothing to exchange.",
        {
          action: "Leave --exchange and --exchange-lag out, or choose --mode local-steps.",
        },
      );
    return null;
  }
  if (codec === null && exchangeLag !== undefined)
    throw new FailureError("invalid-option", "Without an exchange there is nothing that could lag.", {
      action: "Add --exchange dense2, or leave --exchange-lag out.",
    });
  return codec && { codec, lag: exchangeLag ?? preset?.lag ?? 0 };
}

/**
 * How optimizers are set where every step is averaged over so many replicas; a group averages no more than four at once.
 *
 * Each replica's second moment sees √R noisier gradients than one process with all of the batch, so that its steps come out shorter by
 * as much: the learning rate makes up for it (ADR 0008). And what was averaged at every step needs no outer optimizer: merges are plain.
 */
export function exchangingOptimizer(
  learningRate: number,
  replicas: number,
): Pick<TrainingConfig, "learningRate" | "outerLearningRate" | "outerMomentum"> {
  return {
    learningRate: learningRate * Math.sqrt(Math.min(replicas, largestExchangeGroup)),
    outerLearningRate: 1,
    outerMomentum: 0,
  };
}
