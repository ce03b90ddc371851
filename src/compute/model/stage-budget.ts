/** What a stage may have of the memory that a miner gives it, and what it must have room for: the miner and whoever places stages must agree. */
import type { StageSpec, TrainingConfig } from "./config.ts";
import { isFirstStage, isLastStage } from "./stages.ts";

/** A compute worker without a stage, and the daemon: code, heaps, and messages on their way. */
export const programsBytes = 160 << 20;

interface Work {
  readonly stage: StageSpec;
  readonly training: TrainingConfig;
}

export interface StageBudget {
  readonly memoryLimitBytes: number;
  readonly microbatchesInFlight: number;
}

/**
 * By Little's law a source has 1.5 (stages + n) microbatches under way, with the headroom of `src/miner/flow/pace.ts`, where n are those
 * that are computed while one travels. So many are enough as long as to cross a boundary and back takes no longer than a microbatch's
 * computation, about: n ≈ 2 (stages − 1).
 */
const underWayPerStage = 5;

/** Microbatches that one source has under way at most: what a step has, as many steps as may overlap, and no more than a pipeline holds. */
export function mostUnderWay({ stage, training }: Work): number {
  const { microbatchesPerStep, maximumStaleness } = training;
  return Math.min(microbatchesPerStep * (1 + maximumStaleness), underWayPerStage * stage.count);
}

/**
 * A source keeps its own microbatches that are under way until they are back; a stage in the middle also those of other sources, which
 * do not come evenly; the last stage keeps none.
 */
export function stageBudget(work: Work, limitBytes: number): StageBudget {
  const { stage } = work;
  const beforeTheLast = (isFirstStage(stage) ? 1 : 2) * mostUnderWay(work);
  return {
    memoryLimitBytes: Math.max(0, limitBytes - programsBytes),
    microbatchesInFlight: isLastStage(stage) ? 1 : beforeTheLast,
  };
}
