/** How much of the user's memory limit a stage takes, and whether it fits. */
import { DeviceMemoryError } from "../compute/kernels.ts";
import { type MemoryPlan, planStageMemory } from "../compute/model/memory-plan.ts";
import { presets } from "../compute/model/presets.ts";
import { programsBytes, stageBudget } from "../compute/model/stage-budget.ts";
import { cutIntoStages, wholeModel } from "../compute/model/stages.ts";
import type { OpenOptions } from "../compute/worker-protocol.ts";
import type { CommandResult } from "../protocol/local-api.ts";

/** What is trained. */
export type Work = Pick<OpenOptions, "model" | "stage" | "training">;
export type MemoryReport = CommandResult<"doctor">["memory"];

/**
 * How the stage's memory is made up, and whether it fits; where it does not, what it would be without a limit. `workspaceBytes` is
 * what the device's kernels take for themselves.
 */
export function memoryReport(work: Work, limitBytes: number, workspaceBytes: number): MemoryReport {
  const { memoryLimitBytes, microbatchesInFlight } = stageBudget(work, limitBytes);
  const needs = { microbatchesInFlight, workspaceBytes };
  const fitting = planWithin(work, needs, memoryLimitBytes);
  const { totalBytes, ...plan } = fitting ?? planStageMemory(work, needs);
  const { index, count } = work.stage;
  return { stage: index, stages: count, ...plan, programsBytes, neededBytes: totalBytes + programsBytes, limitBytes };
}

/** What a machine that trains nothing yet is asked about: a stage of the demo. */
export function exampleWork(): Work {
  const { model, training, stages } = presets.demo;
  const [stage = wholeModel(model)] = cutIntoStages(model, stages);
  return { model, training, stage };
}

function planWithin(...plan: Parameters<typeof planStageMemory>): MemoryPlan | null {
  try {
    return planStageMemory(...plan);
  } catch (error) {
    if (error instanceof DeviceMemoryError) return null;
    throw error;
  }
}
