/** What each stage of a run asks of a miner, from the run's definition alone. */
import { stageMemory } from "../../../compute/model/memory-plan.ts";
import { blockParameterCount, cutIntoStages, isFirstStage, isLastStage } from "../../../compute/model/stages.ts";
import type { ModelConfig, StageSpec } from "../../../protocol/run-config.ts";
import type { RunDefinition } from "../core/definition.ts";
import type { StageNeed } from "./placement.ts";
import { mostStages } from "./stage-set.ts";

/** Activations and their gradients cross a boundary as f32. */
const bytesPerChannel = 4;

/** Throws `RangeError` when the model cannot be cut so. `microbatchesInFlight`: that a replica keeps at once, at least. */
export function stageNeeds(
  { model, training, stages }: Pick<RunDefinition, "model" | "training" | "stages">,
  microbatchesInFlight = 1,
): readonly StageNeed[] {
  if (stages > mostStages) throw new RangeError(`a model can be cut into ${mostStages} stages at most`);
  return cutIntoStages(model, stages).map((stage) => {
    // What a back end's kernels take for themselves is little beside the stage, and differs from miner to miner.
    const needs = { microbatchesInFlight, workspaceBytes: 0 };
    const plans = [true, false].map((recompute) => stageMemory({ model, stage, training }, needs, recompute));
    const boundaries = Number(!isFirstStage(stage)) + Number(!isLastStage(stage));
    return {
      memoryBytes: Math.min(...plans.map(({ totalBytes }) => totalBytes)),
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
