/** What a stage may have of the memory that a miner gives it, and what it must have room for: the miner and whoever places stages must agree. */
import type { StageSpec, TrainingConfig } from "./config.ts";
import { isFirstStage, isLastStage } from "./stages.ts";

/** A compute worker without a stage, and the daemon: code, heaps, and messages on their way. */
export const programsBytes = 160 << 20;

export interface StageBudget {
  readonly memoryLimitBytes: number;
  readonly microbatchesInFlight: number;
}

/**
 * A source keeps the microbatches of its own steps, as many as may overlap, until they are back; a stage in the middle also those of
 * other sources, which do not come evenly; the last stage keeps none.
 */
export function stageBudget(
  { stage, training }: { readonly stage: StageSpec; readonly training: TrainingConfig },
  limitBytes: number,
): StageBudget {
  const ofOneSource = training.microbatchesPerStep * (1 + training.maximumStaleness);
  const beforeTheLast = isFirstStage(stage) ? ofOneSource : 2 * ofOneSource;
  return {
    memoryLimitBytes: Math.max(0, limitBytes - programsBytes),
    microbatchesInFlight: isLastStage(stage) ? 1 : beforeTheLast,
  };
}
