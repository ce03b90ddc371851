/** What each stage of a run asks of a miner, from the run's definition alone. */
import { rowPayloadBytes } from "../../../compute/codec/rows.ts";
import { halfParameterCount, halfShape } from "../../../compute/model/bottleneck.ts";
import { stageMemory } from "../../../compute/model/memory-plan.ts";
import { channelsBefore, halvesOf } from "../../../compute/model/parts.ts";
import { programsBytes, stageBudget } from "../../../compute/model/stage-budget.ts";
import { blockParameterCount, cutIntoStages, isFirstStage, isLastStage } from "../../../compute/model/stages.ts";
import type { ModelConfig, StageSpec, TrainingConfig } from "../../../protocol/run-config.ts";
import type { RunDefinition } from "../core/definition.ts";
import type { StageNeed } from "./placement.ts";
import { mostStages } from "./stage-set.ts";

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
    const boundaries = [
      ...(isFirstStage(stage) ? [] : [stage.fromLayer]),
      ...(isLastStage(stage) ? [] : [stage.toLayer]),
    ];
    return {
      memoryBytes: programsBytes + Math.ceil((1 + workspaceShare) * Math.min(...plans)),
      work: stageWork(model, stage),
      bytesPerToken: boundaries.reduce((sum, layer) => sum + crossingBytesPerToken(model, training, layer), 0),
    };
  });
}

/** Activations on their way forward, and their gradients back. */
function crossingBytesPerToken(model: ModelConfig, training: TrainingConfig, layer: number): number {
  const rows = training.sequencesPerMicrobatch * training.sequenceLength;
  const shape = { rows, columns: channelsBefore(model, layer) };
  const { forward, backward } = training.compression.boundary;
  return (rowPayloadBytes(forward, shape) + rowPayloadBytes(backward, shape)) / rows;
}

/**
 * Multiplications per token, relative to a block's: each of its parameters once, and each channel with, on average, half of the
 * context, for scores and for values. Backward passes take twice as many of each. Embedding a token is a copy.
 */
function stageWork(model: ModelConfig, stage: StageSpec): number {
  const block = blockParameterCount(model) + model.context * model.width;
  const head = isLastStage(stage) ? model.vocabulary * model.width : 0;
  const halves = halvesOf(model, stage).reduce((sum, half) => sum + halfParameterCount(halfShape(model, half)), 0);
  return stage.toLayer - stage.fromLayer + (halves + head) / block;
}
