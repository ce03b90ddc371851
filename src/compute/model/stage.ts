/**
 * One stage of the model on one device: its weights and gradients, and the passes of a microbatch through them.
 *
 *     first stage   x = embedding[tokens]
 *     every stage   x = block(x), for each of its layers
 *     last stage    loss = Σ −log softmax(norm(x) · headᵀ)[target], in `head.ts`
 *
 * Gradients are sums over tokens; whoever steps or merges divides. This folder states the model as calls on `Kernels`
 * and imports no back end.
 */
import type { Device, Kernels, Slice } from "../kernels.ts";
import { slice } from "../kernels.ts";
import {
  type BlockActivations,
  type BlockPass,
  type BlockShape,
  blockBackward,
  blockForward,
  blockWidths,
  scratchWidths,
} from "./block.ts";
import type { ModelConfig, StageSpec } from "./config.ts";
import { type HeadPass, type HeadRows, headBackward, headForward, headLoss, headWidths } from "./head.ts";
import { bindTensors, type StageLayout, type StageTensors, stageLayout } from "./layout.ts";
import { allocateRows, createMemory, firstRows, type Memory, type Rows } from "./memory.ts";
import { isLastStage } from "./stages.ts";

export interface Stage {
  readonly kernels: Kernels;
  readonly model: ModelConfig;
  readonly spec: StageSpec;
  readonly layout: StageLayout;
  /** The weights and their gradients as vectors, laid out by `layout`. */
  readonly parameters: Slice;
  readonly gradients: Slice;
  /** The same, by name. */
  readonly weights: StageTensors;
  readonly dWeights: StageTensors;
  readonly memory: Memory;
  /** Tokens of the largest microbatch that there is room for. */
  readonly maximumTokens: number;
  /** Working space that all microbatches share. */
  readonly scratch: {
    readonly block: Rows<keyof ReturnType<typeof scratchWidths>>;
    readonly dx: Slice;
    /** Last stage only. */
    readonly head: HeadRows | null;
    /** int32 [tokens]; last stage only. */
    readonly targets: Slice | null;
  };
}

/** What a microbatch keeps on the device between its forward and its backward pass. */
export interface StageActivations {
  /** int32 [tokens]; first stage only. */
  readonly tokens: Slice | null;
  readonly blocks: readonly BlockActivations[];
  /** [tokens, width]: what leaves the last block. */
  readonly output: Slice;
}

export interface EmbeddingPass {
  /** [vocabulary, width]. */
  readonly table: Slice;
  readonly dTable: Slice;
  /** int32 [tokens]. */
  readonly tokens: Slice;
}

/** Everything that the passes of one microbatch touch, cut to the microbatch's size. */
export interface StagePass {
  readonly shape: BlockShape;
  /** First stage only. */
  readonly embedding: EmbeddingPass | null;
  /** [tokens, width]: what enters the first block. */
  readonly input: Slice;
  readonly blocks: readonly BlockPass[];
  readonly output: Slice;
  /** [tokens, width]: the gradient on its way back, of `output` before the backward pass and of `input` after it. */
  readonly dx: Slice;
  /** Last stage only. */
  readonly head: HeadPass | null;
}

/** Allocates a stage for microbatches of at most `maximumTokens` tokens. Its weights are zero until they are loaded. */
export function createStage(device: Device, model: ModelConfig, spec: StageSpec, maximumTokens: number): Stage {
  const memory = createMemory(device);
  const layout = stageLayout(model, spec);
  const parameters = memory.reals(layout.length);
  const gradients = memory.reals(layout.length);
  const last = isLastStage(spec);
  return {
    kernels: device.kernels,
    model,
    spec,
    layout,
    parameters,
    gradients,
    weights: bindTensors(spec, layout, parameters),
    dWeights: bindTensors(spec, layout, gradients),
    memory,
    maximumTokens,
    scratch: {
      block: allocateRows(memory, scratchWidths(model), maximumTokens),
      dx: memory.reals(maximumTokens * model.width),
      head: last ? allocateRows(memory, headWidths(model), maximumTokens) : null,
      targets: last ? memory.indices(maximumTokens) : null,
    },
  };
}

/** Room for one more microbatch in flight. Throws `DeviceMemoryError` when there is none, having taken nothing. */
export function allocateActivations({ memory, model, weights, maximumTokens }: Stage): StageActivations {
  return memory.allOrNothing(() => ({
    tokens: weights.embedding && memory.indices(maximumTokens),
    blocks: weights.blocks.map(() => allocateRows(memory, blockWidths(model), maximumTokens)),
    output: memory.reals(maximumTokens * model.width),
  }));
}

/** Cuts a stage's memory, and one set of activations, to a microbatch. */
export function passOf(stage: Stage, kept: StageActivations, shape: BlockShape): StagePass {
  const { model, weights, dWeights, scratch } = stage;
  const rows = shape.sequences * shape.queries;
  const widths = blockWidths(model);
  const blockScratch = firstRows(scratch.block, scratchWidths(model), rows);
  const stream = (all: Slice) => slice(all.buffer, all.offset, rows * model.width);
  const cached = { key: widths.key, value: widths.value };
  const blocks = kept.blocks.map((all, index) => ({
    weights: at(weights.blocks, index),
    gradients: at(dWeights.blocks, index),
    kept: { ...firstRows(all, widths, rows), ...firstRows(all, cached, shape.sequences * shape.keys) },
    scratch: blockScratch,
    output: stream(kept.blocks[index + 1]?.input ?? kept.output),
  }));
  return {
    shape,
    embedding: weights.embedding &&
      dWeights.embedding &&
      kept.tokens && {
        table: weights.embedding,
        dTable: dWeights.embedding,
        tokens: slice(kept.tokens.buffer, kept.tokens.offset, rows),
      },
    input: at(blocks, 0).kept.input,
    blocks,
    output: stream(kept.output),
    dx: stream(scratch.dx),
    head: weights.head &&
      dWeights.head &&
      scratch.head &&
      scratch.targets && {
        weights: weights.head,
        gradients: dWeights.head,
        rows: firstRows(scratch.head, headWidths(model), rows),
        targets: slice(scratch.targets.buffer, scratch.targets.offset, rows),
      },
  };
}

/** `input`, or the embedding's tokens, → `output`. */
export function stageForward({ kernels, model }: Stage, { shape, embedding, input, blocks }: StagePass): void {
  if (embedding) {
    const { table, tokens } = embedding;
    kernels.embeddingForward(input, table, tokens, { rows: tokens.length, width: model.width });
  }
  for (const block of blocks) blockForward(kernels, model, shape, block);
}

/** Turns `dx` from the gradient of `output` into that of `input`; adds parameter gradients. Spends the activations. */
export function stageBackward({ kernels, model }: Stage, { shape, embedding, blocks, dx }: StagePass): void {
  for (const block of blocks.toReversed()) blockBackward(kernels, model, shape, block, dx);
  if (embedding) {
    const { dTable, tokens } = embedding;
    kernels.embeddingBackward(dTable, dx, tokens, { rows: tokens.length, width: model.width });
  }
}

/** The last stage's forward pass and loss: `input` → the loss of every token, in nats: [tokens]. */
export function lossForward(stage: Stage, pass: StagePass): Slice {
  const head = headOf(pass);
  stageForward(stage, pass);
  headForward(stage.kernels, stage.model, head, pass.output);
  headLoss(stage.kernels, stage.model, head);
  return head.rows.losses;
}

/** After `lossForward`: `dx` becomes the gradient of the summed loss with respect to `input`. Spends the activations. */
export function lossBackward(stage: Stage, pass: StagePass): void {
  headBackward(stage.kernels, stage.model, headOf(pass), pass.dx, pass.output);
  stageBackward(stage, pass);
}

export function headOf({ head }: StagePass): HeadPass {
  if (!head) throw new Error("only the last stage has a head");
  return head;
}

export function embeddingOf({ embedding }: StagePass): EmbeddingPass {
  if (!embedding) throw new Error("only the first stage takes tokens");
  return embedding;
}

function at<T>(items: readonly T[], index: number): T {
  const item = items[index];
  if (item === undefined) throw new RangeError(`no item ${index} of ${items.length}`);
  return item;
}
