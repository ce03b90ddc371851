/** The learning rate as a function of the optimizer step alone, so that replicas agree on it without a word. */
import { assertNever } from "../../protocol/assert-never.ts";
import type { TrainingConfig } from "./config.ts";

/** Linear warm-up to `learningRate`, then what the schedule says. `step` is 1 for the first. */
export function learningRateAt(
  { learningRate, warmupSteps, schedule }: Pick<TrainingConfig, "learningRate" | "warmupSteps" | "schedule">,
  step: number,
): number {
  const share = step < warmupSteps ? step / warmupSteps : shareAfterWarmup(schedule, step - warmupSteps);
  return learningRate * share;
}

/** Share of the full rate at so many steps behind the warm-up's end. */
function shareAfterWarmup(schedule: TrainingConfig["schedule"], steps: number): number {
  switch (schedule.kind) {
    case "constant":
      return 1;
    case "cosine": {
      const decayed = Math.min(1, steps / schedule.decaySteps);
      return schedule.floor + ((1 - schedule.floor) * (1 + Math.cos(Math.PI * decayed))) / 2;
    }
    case "wsd": {
      const decayed = Math.min(1, Math.max(0, steps - schedule.stableSteps) / schedule.decaySteps);
      return 1 - (1 - schedule.floor) * decayed;
    }
    default:
      return assertNever(schedule);
  }
}
