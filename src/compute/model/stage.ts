/**
 * One stage of the model on one device: the passes of a microbatch through it.
 *
 *     first stage   x = embedding[tokens]
 *     every stage   x = block(x), for each of its layers
 *     last stage    loss = Σ −log softmax(norm(x) · headᵀ)[target], in `head.ts`
 *
 * Gradients are sums over tokens; whoever steps or merges divides. This folder states the model as calls on `Kernels`
 * and imports no back end.
 */
import type { Kernels, Slice } from "../kernels.ts";
import {
  type BlockPass,
  type BlockShape,
  blockActivate,
  blockBackward,
  blockForward,
  blockScratch,
  blockWidths,
} from "./block.ts";
import type { ModelConfig, StageSpec } from "./config.ts";
import { type HeadPass, headForwardBackward, headLosses } from "./head.ts";
import { firstRows, type Memory, placeRows, rowsOf } from "./memory.ts";
import { allocateStage, type StageActivations, type StageMemory, type StageSize } from "./stage-memory.ts";

export interface Stage extends StageMemory {
  readonly kernels: Kernels;
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

/** Its weights are zero until they are loaded. Throws `DeviceMemoryError`. */
export function createStage(
  kernels: Kernels,
  memory: Memory,
  model: ModelConfig,
  spec: StageSpec,
  size: StageSize,
): Stage {
  return { kernels, ...allocateStage(memory, model, spec, size) };
}

/** Cuts a stage's memory, and one set of activations, to a microbatch. */
export function passOf(stage: Stage, kept: StageActivations, shape: BlockShape): StagePass {
  const { model, weights, dWeights, scratch } = stage;
  const rows = shape.sequences * shape.queries;
  const widths = blockWidths(model);
  const ofBlock = placeRows(scratch.working, blockScratch(model), rows);
  const stream = (all: Slice) => rowsOf(all, model.width, 0, rows);
  const cached = { key: widths.key, value: widths.value };
  const blocks = kept.blocks.map((all, index) => ({
    weights: at(weights.blocks, index),
    gradients: at(dWeights.blocks, index),
    kept: { ...firstRows(all, widths, rows), ...firstRows(all, cached, shape.sequences * shape.keys) },
    scratch: ofBlock,
    output: stream(kept.blocks[index + 1]?.input ?? scratch.output),
  }));
  return {
    shape,
    embedding: weights.embedding &&
      dWeights.embedding &&
      kept.tokens && {
        table: weights.embedding,
        dTable: dWeights.embedding,
        tokens: rowsOf(kept.tokens, 1, 0, rows),
      },
    input: at(blocks, 0).kept.input,
    blocks,
    output: stream(scratch.output),
    dx: stream(scratch.dx),
    head: weights.head &&
      dWeights.head &&
      scratch.losses &&
      scratch.targets && {
        weights: weights.head,
        gradients: dWeights.head,
        scratch: scratch.working,
        losses: rowsOf(scratch.losses, 1, 0, rows),
        targets: rowsOf(scratch.targets, 1, 0, rows),
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
export function stageBackward({ kernels, model, size }: Stage, { shape, embedding, blocks, dx }: StagePass): void {
  for (const block of blocks.toReversed()) {
    if (size.recompute) blockActivate(kernels, model, shape, block);
    blockBackward(kernels, model, shape, block, dx);
  }
  if (embedding) {
    const { dTable, tokens } = embedding;
    kernels.embeddingBackward(dTable, dx, tokens, { rows: tokens.length, width: model.width });
  }
}

/** After the last stage's `stageForward`: `output` → the loss of every token, in nats: [tokens]. */
export function lossForward({ kernels, model }: Stage, pass: StagePass): Slice {
  const head = headOf(pass);
  headLosses(kernels, model, head, pass.output);
  return head.losses;
}

/**
 * As `lossForward`, and back: `dx` becomes the gradient of the summed loss with respect to `input`; adds parameter gradients.
 * Spends the activations.
 */
export function lossForwardBackward(stage: Stage, pass: StagePass): Slice {
  const head = headOf(pass);
  headForwardBackward(stage.kernels, stage.model, head, pass.dx, pass.output);
  stageBackward(stage, pass);
  return head.losses;
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
