/** How many parameters a model has, and how it is cut into stages. */
import { halfParameterCount, halfShape } from "./bottleneck.ts";
import type { ModelConfig, StageSpec } from "./config.ts";
import { halvesOf } from "./parts.ts";

/** Parameters of one block: four attention matrices, three of the SwiGLU, two norm gains. */
export function blockParameterCount(model: ModelConfig): number {
  const keyValueWidth = (model.width / model.heads) * model.keyValueHeads;
  const attention = 2 * model.width * model.width + 2 * model.width * keyValueWidth;
  return attention + 3 * model.width * model.feedForward + 2 * model.width;
}

/** Parameters of the whole model: blocks, bottlenecks, embedding, head and the final norm's gain. */
export function parameterCount(model: ModelConfig): number {
  const halves = halvesOf(model, wholeModel(model)).map((half) => halfParameterCount(halfShape(model, half)));
  const ends = 2 * model.vocabulary * model.width + model.width;
  return halves.reduce((sum, count) => sum + count, model.layers * blockParameterCount(model) + ends);
}

/**
 * Cuts the model into `count` contiguous stages with as equal a number of parameters as whole layers allow. The embedding
 * weighs on the first stage and the head on the last. Layers are all alike, so giving each to the lightest stage is optimal.
 * Bottlenecks do not count: they lie where the model is cut.
 */
export function cutIntoStages(model: ModelConfig, count: number): StageSpec[] {
  if (!Number.isInteger(count) || count < 1 || count > model.layers)
    throw new RangeError(`${model.layers} layers cannot be cut into ${count} stages`);
  const block = blockParameterCount(model);
  const layers = new Array<number>(count).fill(1);
  const parameters = layers.map((_, index) => {
    const ends = (index === 0 ? 1 : 0) + (index === count - 1 ? 1 : 0);
    return block + ends * model.vocabulary * model.width;
  });
  for (let given = count; given < model.layers; given++) {
    const lightest = parameters.indexOf(Math.min(...parameters));
    layers[lightest] = (layers[lightest] ?? 0) + 1;
    parameters[lightest] = (parameters[lightest] ?? 0) + block;
  }
  let toLayer = 0;
  return layers.map((own, index) => {
    const fromLayer = toLayer;
    toLayer += own;
    return { index, count, fromLayer, toLayer };
  });
}

export function isFirstStage(stage: StageSpec): boolean {
  return stage.index === 0;
}

export function isLastStage(stage: StageSpec): boolean {
  return stage.index === stage.count - 1;
}

/** The stage that is the whole model. */
export function wholeModel(model: ModelConfig): StageSpec {
  return { index: 0, count: 1, fromLayer: 0, toLayer: model.layers };
}
