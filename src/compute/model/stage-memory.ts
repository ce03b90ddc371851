/**
 * The memory of one stage: its weights and gradients, working space, and what microbatches keep in flight. It is allocated
 * here and nowhere else, and `memory-plan.ts` counts it by calling the same functions.
 */
import type { Slice } from "../kernels.ts";
import { type BlockActivations, blockScratch, blockWidths } from "./block.ts";
import { type HalfActivations, halfScratch, halfShape, halfWidths } from "./bottleneck.ts";
import type { ModelConfig, StageSpec } from "./config.ts";
import { headScratchLength } from "./head.ts";
import { bindTensors, type StageLayout, type StageTensors, stageLayout } from "./layout.ts";
import { allocateRows, type Memory, widthOf } from "./memory.ts";
import { halvesOf } from "./parts.ts";
import { isLastStage } from "./stages.ts";

/** What decides, next to the model and the cut, how much memory a stage takes. */
export interface StageSize {
  /** Tokens of the largest microbatch that there is room for. */
  readonly maximumTokens: number;
  /**
   * When set, a microbatch in flight keeps no more of each block than its input, and its backward pass computes the rest again
   * (Chen 2016, §4.1): about a fifth more time, for a fraction of the memory. The gradients are the same to the last bit.
   */
  readonly recompute: boolean;
}

export interface StageMemory {
  readonly model: ModelConfig;
  readonly spec: StageSpec;
  readonly size: StageSize;
  readonly layout: StageLayout;
  /** The weights and their gradients as vectors, laid out by `layout`. */
  readonly parameters: Slice;
  readonly gradients: Slice;
  /** The same, by name. */
  readonly weights: StageTensors;
  readonly dWeights: StageTensors;
  readonly scratch: StageScratch;
  readonly memory: Memory;
}

/** Working space that all microbatches share. */
export interface StageScratch {
  /** Of one block, one half of a bottleneck, or a chunk of the head's rows: never of two at once. */
  readonly working: Slice;
  /** [tokens, width]: what leaves the last block, unless an encoder takes it. Once it has been sent on, only the head still reads it. */
  readonly output: Slice;
  /** [tokens, width]; before the last stage it is `output`, which is gone when a gradient comes. */
  readonly dx: Slice;
  /** [tokens, rank]: what leaves an encoder at the stage's end, and the gradient between halves; only where there are any. */
  readonly squeezed: Slice | null;
  /** What every block's forward pass leaves, next to its input; with `recompute` only. */
  readonly activations: Omit<BlockActivations, "input"> | null;
  /** [tokens], and int32 [tokens]; last stage only. */
  readonly losses: Slice | null;
  readonly targets: Slice | null;
  /** [1] */
  readonly sum: Slice;
}

/** What a microbatch keeps on the device between its forward and its backward pass. */
export interface StageActivations {
  /** int32 [tokens]; first stage only. */
  readonly tokens: Slice | null;
  readonly blocks: readonly BlockActivations[];
  /** In the order of `halvesOf`. */
  readonly halves: readonly HalfActivations[];
}

/** Throws `DeviceMemoryError`. */
export function allocateStage(memory: Memory, model: ModelConfig, spec: StageSpec, size: StageSize): StageMemory {
  const layout = stageLayout(model, spec);
  const parameters = memory.reals(layout.length);
  const gradients = memory.reals(layout.length);
  return {
    model,
    spec,
    size,
    layout,
    parameters,
    gradients,
    weights: bindTensors(model, spec, layout, parameters),
    dWeights: bindTensors(model, spec, layout, gradients),
    scratch: allocateScratch(memory, model, spec, size),
    memory,
  };
}

function allocateScratch(
  memory: Memory,
  model: ModelConfig,
  spec: StageSpec,
  { maximumTokens, recompute }: StageSize,
): StageScratch {
  const isLast = isLastStage(spec);
  const { input: inputWidth, ...recomputed } = blockWidths(model);
  const halves = halvesOf(model, spec);
  const ofHalves = halves.map((half) => widthOf(halfScratch(halfShape(model, half))));
  const ofPart = maximumTokens * Math.max(widthOf(blockScratch(model)), ...ofHalves);
  const output = memory.reals(maximumTokens * inputWidth);
  return {
    working: memory.reals(isLast ? Math.max(ofPart, headScratchLength(model, maximumTokens)) : ofPart),
    output,
    dx: isLast ? memory.reals(maximumTokens * inputWidth) : output,
    squeezed: model.bottleneck && halves.length > 0 ? memory.reals(maximumTokens * model.bottleneck.rank) : null,
    activations: recompute ? allocateRows(memory, recomputed, maximumTokens) : null,
    losses: isLast ? memory.reals(maximumTokens) : null,
    targets: isLast ? memory.indices(maximumTokens) : null,
    sum: memory.reals(1),
  };
}

/** Room for one more microbatch in flight. Throws `DeviceMemoryError` when there is none, having taken nothing. */
export function allocateActivations(stage: StageMemory): StageActivations {
  const { memory, model, size, scratch } = stage;
  const { activations } = scratch;
  if (!activations) return allocateAllActivations(stage);
  return memory.allOrNothing(() => ({
    tokens: allocateTokens(stage),
    blocks: stage.weights.blocks.map(() => ({ ...activations, input: memory.reals(size.maximumTokens * model.width) })),
    halves: allocateHalves(stage),
  }));
}

/** As without `recompute`: a key-value cache outlives the pass in every block. */
export function allocateAllActivations(stage: StageMemory): StageActivations {
  const { memory, model, size } = stage;
  return memory.allOrNothing(() => ({
    tokens: allocateTokens(stage),
    blocks: stage.weights.blocks.map(() => allocateRows(memory, blockWidths(model), size.maximumTokens)),
    halves: allocateHalves(stage),
  }));
}

/** With `recompute` too: they are small beside a block's. */
function allocateHalves({ memory, model, spec, size }: StageMemory): readonly HalfActivations[] {
  return halvesOf(model, spec).map((half) =>
    allocateRows(memory, halfWidths(halfShape(model, half)), size.maximumTokens),
  );
}

function allocateTokens({ memory, weights, size }: StageMemory): Slice | null {
  return weights.embedding && memory.indices(size.maximumTokens);
}
