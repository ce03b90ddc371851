/** What each stage of a run asks of a miner, from the run's definition alone. */
import { stageMemory } from "../../../compute/model/memory-plan.ts";
import { programsBytes, stageBudget } from "../../../compute/model/stage-budget.ts";
import { blockParameterCount, cutIntoStages, isFirstStage, isLastStage } from "../../../compute/model/stages.ts";
import type { ModelConfig, StageSpec } from "../../../protocol/run-config.ts";
import type { RunDefinition } from "../core/definition.ts";
import type { StageNeed } from "./placement.ts";
import { mostStages } from "./stage-set.ts";

/** Activations and their gradients cross a boundary as f32. */
const bytesPerChannel = 4;

/** For what a back end's kernels take for themselves, which differs from miner to miner. */
const workspaceShare = 0.1;

/** Throws `RangeError` when the model cannot be cut so. */
export function stageNeeds({
  model,
  training,
  stages,
}: Pick<RunDefinition, "model" | "training" | "stages">): readonly StageNeed[] {
  if (stages > mostStages) throw new RangeError(`a model can be cut into ${mostStages} stages at most`);
  return cutIntoStages(model, stages).map((stage) => {
    const work = { model, stage, training };
    const { microbatchesInFlight } = stageBudget(work, 0);
    const needs = { microbatchesInFlight, workspaceBytes: 0 };
    const plans = [true, false].map((recompute) => stageMemory(work, needs, recompute).totalBytes);
    const boundaries = Number(!isFirstStage(stage)) + Number(!isLastStage(stage));
    return {
      memoryBytes: programsBytes + Math.ceil((1 + workspaceShare) * Math.min(...plans)),
      work: stageWork(model, stage),
      bytesPerToken: 2 * boundaries * model.width * bytesPerChannel,
    };
  });
}

/**
 * Multiplications per token, relative to a block's: each of its parameters once, and each channel with, on average, half of the
 * context, for scores and for values. Backward passes take twice as many of each. Embedding a token is a copy.
 */
function stageWork(model: ModelConfig, stage: StageSpec): number {
  const block = blockParameterCount(model) + model.context * model.width;
  const head = isLastStage(stage) ? model.vocabulary * model.width : 0;
  return stage.toLayer - stage.fromLayer + head / block;
}
