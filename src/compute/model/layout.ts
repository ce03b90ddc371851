/**
 * A stage's parameters as one flat vector, so that optimizers, merges and checkpoints need not know the architecture.
 * Matrices come first and norm gains last: weight decay covers one range, and the optimizer takes two calls.
 */
import type { Slice } from "../kernels.ts";
import { slice } from "../kernels.ts";
import { halfShape } from "./bottleneck.ts";
import type { ModelConfig, StageSpec } from "./config.ts";
import { type BottleneckHalf, halvesOf, partName, partsOf } from "./parts.ts";
import { isFirstStage, isLastStage } from "./stages.ts";

/**
 * What decides how a tensor starts; `residual` matrices write into the residual stream, and `silent` ones say nothing yet. All but
 * `gain` vectors decay.
 */
export type TensorRole = "embedding" | "matrix" | "projection" | "residual" | "silent" | "gain";

export interface TensorLayout {
  /** Such as `layers.3.attention.query`; layers are counted from the model's first, whatever the cut. */
  readonly name: string;
  readonly role: TensorRole;
  /** Matrices are [outputs, inputs]; the embedding is [vocabulary, width]. */
  readonly shape: readonly number[];
  /** First element in the stage's vector. */
  readonly offset: number;
  readonly length: number;
}

export interface StageLayout {
  readonly tensors: readonly TensorLayout[];
  /** Elements of the whole vector. */
  readonly length: number;
  /** Weight decay applies to elements 0 … decayedLength − 1. */
  readonly decayedLength: number;
}

export interface BlockTensors {
  readonly attentionNorm: Slice;
  readonly query: Slice;
  readonly key: Slice;
  readonly value: Slice;
  readonly output: Slice;
  readonly feedForwardNorm: Slice;
  readonly gate: Slice;
  readonly up: Slice;
  readonly down: Slice;
}

/** Of one half of a bottleneck. */
export interface HalfTensors {
  readonly norm: Slice;
  readonly gate: Slice;
  readonly up: Slice;
  readonly down: Slice;
}

export interface HeadTensors {
  readonly norm: Slice;
  readonly head: Slice;
}

/** A stage's weights, or their gradients, as named ranges of one vector. */
export interface StageTensors {
  /** First stage only. */
  readonly embedding: Slice | null;
  readonly blocks: readonly BlockTensors[];
  /** In the order of `halvesOf`. */
  readonly halves: readonly HalfTensors[];
  /** Last stage only. */
  readonly head: HeadTensors | null;
}

export function stageLayout(model: ModelConfig, stage: StageSpec): StageLayout {
  const named = namedShapes(model, stage);
  const ordered = [
    ...named.filter((tensor) => tensor.role !== "gain"),
    ...named.filter((tensor) => tensor.role === "gain"),
  ];
  let offset = 0;
  const tensors = ordered.map((tensor) => {
    const length = tensor.shape.reduce((product, extent) => product * extent, 1);
    const placed = { ...tensor, offset, length };
    offset += length;
    return placed;
  });
  const decayedLength = tensors.reduce((sum, tensor) => sum + (tensor.role === "gain" ? 0 : tensor.length), 0);
  return { tensors, length: offset, decayedLength };
}

/** Names the parts of `vector`, which holds a stage's weights or their gradients. */
export function bindTensors(model: ModelConfig, stage: StageSpec, layout: StageLayout, vector: Slice): StageTensors {
  const byName = new Map(layout.tensors.map((tensor) => [tensor.name, tensor]));
  const find = (name: string): Slice => {
    const tensor = byName.get(name);
    if (tensor === undefined) throw new Error(`stage ${stage.index} has no tensor ${name}`);
    return slice(vector.buffer, vector.offset + tensor.offset, tensor.length);
  };
  const blocks: BlockTensors[] = [];
  for (let layer = stage.fromLayer; layer < stage.toLayer; layer++) {
    blocks.push({
      attentionNorm: find(`layers.${layer}.attention.norm`),
      query: find(`layers.${layer}.attention.query`),
      key: find(`layers.${layer}.attention.key`),
      value: find(`layers.${layer}.attention.value`),
      output: find(`layers.${layer}.attention.output`),
      feedForwardNorm: find(`layers.${layer}.feedForward.norm`),
      gate: find(`layers.${layer}.feedForward.gate`),
      up: find(`layers.${layer}.feedForward.up`),
      down: find(`layers.${layer}.feedForward.down`),
    });
  }
  return {
    embedding: isFirstStage(stage) ? find("embedding") : null,
    blocks,
    halves: halvesOf(model, stage).map((half) => ({
      norm: find(`${partName(half)}.norm`),
      gate: find(`${partName(half)}.gate`),
      up: find(`${partName(half)}.up`),
      down: find(`${partName(half)}.down`),
    })),
    head: isLastStage(stage) ? { norm: find("norm"), head: find("head") } : null,
  };
}

type NamedShape = Pick<TensorLayout, "name" | "role" | "shape">;

function namedShapes(model: ModelConfig, stage: StageSpec): NamedShape[] {
  const { width, feedForward, vocabulary } = model;
  const keyValueWidth = (width / model.heads) * model.keyValueHeads;
  const shapes: NamedShape[] = [];
  if (isFirstStage(stage)) shapes.push({ name: "embedding", role: "embedding", shape: [vocabulary, width] });
  for (const part of partsOf(model, stage)) {
    if (part.kind !== "block") {
      shapes.push(...halfShapes(model, part));
      continue;
    }
    const attention = `${partName(part)}.attention`;
    const feed = `${partName(part)}.feedForward`;
    shapes.push(
      { name: `${attention}.norm`, role: "gain", shape: [width] },
      { name: `${attention}.query`, role: "matrix", shape: [width, width] },
      { name: `${attention}.key`, role: "matrix", shape: [keyValueWidth, width] },
      { name: `${attention}.value`, role: "matrix", shape: [keyValueWidth, width] },
      { name: `${attention}.output`, role: "residual", shape: [width, width] },
      { name: `${feed}.norm`, role: "gain", shape: [width] },
      { name: `${feed}.gate`, role: "matrix", shape: [feedForward, width] },
      { name: `${feed}.up`, role: "matrix", shape: [feedForward, width] },
      { name: `${feed}.down`, role: "residual", shape: [width, feedForward] },
    );
  }
  if (isLastStage(stage)) {
    shapes.push(
      { name: "norm", role: "gain", shape: [width] },
      { name: "head", role: "matrix", shape: [vocabulary, width] },
    );
  }
  return shapes;
}

function halfShapes(model: ModelConfig, half: BottleneckHalf): NamedShape[] {
  const { inputs, outputs, hidden } = halfShape(model, half);
  const name = partName(half);
  return [
    { name: `${name}.norm`, role: "gain", shape: [inputs] },
    { name: `${name}.gate`, role: "projection", shape: [hidden, inputs] },
    { name: `${name}.up`, role: "projection", shape: [hidden, inputs] },
    { name: `${name}.down`, role: "silent", shape: [outputs, hidden] },
  ];
}
