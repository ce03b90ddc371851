/** The memory of a replica's training state, next to that of its stage. All of it is taken when it is first needed. */
import { exchangeParts } from "../../protocol/exchange-messages.ts";
import type { TrainingConfig } from "./config.ts";
import { type LazyVector, lazyReals, type Memory } from "./memory.ts";
import { createOptimizerState, type OptimizerState } from "./optimizer-state.ts";

export interface ReplicaMemory {
  readonly optimizer: OptimizerState;
  /** The weights at the epoch's start, once local steps have left them. */
  readonly epochStart: LazyVector;
  /** A part of a pseudo-gradient on its way out. */
  readonly exchange: LazyVector;
  /** For what is exchanged at every step; null where nothing is. */
  readonly stepExchange: ExchangeMemory | null;
}

/** Where steps are averaged with other replicas, part by part (`exchangeParts`). */
export interface ExchangeMemory {
  /** A part of the weights before the step. */
  readonly stepStart: LazyVector;
  /** A part of what was moved. */
  readonly moved: LazyVector;
}

/** 4 MiB. */
const mostExchanged = 2 ** 20;

export function createReplicaMemory(memory: Memory, training: TrainingConfig, parameters: number): ReplicaMemory {
  return {
    optimizer: createOptimizerState(memory, training.mode, parameters),
    epochStart: lazyReals(memory, parameters),
    exchange: lazyReals(memory, Math.min(mostExchanged, parameters)),
    stepExchange: createExchangeMemory(memory, training, parameters),
  };
}

function createExchangeMemory(
  memory: Memory,
  { mode, compression }: TrainingConfig,
  parameters: number,
): ExchangeMemory | null {
  if (mode === "sync" || compression.exchange === null) return null;
  const longestPart = exchangeParts(parameters)[0]?.length ?? 0;
  return { stepStart: lazyReals(memory, longestPart), moved: lazyReals(memory, longestPart) };
}

/** Takes all that steps and merges will need. */
export function takeReplicaMemory(
  { optimizer, epochStart, exchange, stepExchange }: ReplicaMemory,
  training: TrainingConfig,
): void {
  optimizer.firstMoment.use();
  optimizer.secondMoment.use();
  if (training.mode === "local-steps") for (const vector of [epochStart, exchange]) vector.use();
  if (stepExchange !== null) for (const vector of [stepExchange.stepStart, stepExchange.moved]) vector.use();
  if (training.outerMomentum !== 0) optimizer.outerMomentum?.use();
}
