/**
 * One decoder block, forward and backward (Touvron 2023, §2.2):
 *
 *     middle = input  + attention(norm(input))  · outputᵀ
 *     output = middle + swiglu(norm(middle))    · downᵀ
 *
 * Every matrix has one row per token. `d…` is the gradient of the loss with respect to `…`. The forward pass keeps what is
 * costly to compute again; norms and SwiGLU outputs are cheap, and the backward pass computes them anew.
 */
import type { Kernels, Slice } from "../kernels.ts";
import { slice } from "../kernels.ts";
import type { ModelConfig } from "./config.ts";
import type { BlockTensors } from "./layout.ts";
import { linearBackwardInput, linearBackwardWeight, linearForward } from "./linear.ts";
import type { Places, Rows, Widths } from "./memory.ts";

/** What a block's forward pass leaves for its backward pass. */
export type BlockActivations = Rows<keyof ReturnType<typeof blockWidths>>;
/** Working space that every block and microbatch of a stage shares. */
export type BlockScratch = Rows<keyof ReturnType<typeof blockScratch>>;

export interface BlockShape {
  readonly sequences: number;
  /** Tokens per sequence that pass through the block. */
  readonly queries: number;
  /**
   * Tokens per sequence that they can attend to, themselves included. Equal to `queries` in training. When decoding one
   * sequence with a cache there are more: the block's first keys and values are those of the tokens before.
   */
  readonly keys: number;
}

export function blockWidths(model: ModelConfig) {
  const { width, heads, feedForward } = model;
  const keyValueWidth = (width / heads) * model.keyValueHeads;
  return {
    input: width,
    attentionInverseRms: 1,
    query: width,
    key: keyValueWidth,
    value: keyValueWidth,
    mixed: width,
    logSumExp: heads,
    middle: width,
    feedForwardInverseRms: 1,
    gate: feedForward,
    up: feedForward,
  } satisfies Widths<string>;
}

/** At most one of the first four is in use at any time; the last three outlive those that come after attention's backward pass. */
export function blockScratch(model: ModelConfig) {
  const { width, heads, feedForward } = model;
  const keyValueWidth = (width / heads) * model.keyValueHeads;
  return {
    normed: { after: 0, width },
    activated: { after: 0, width: feedForward },
    dNormed: { after: 0, width },
    dMixed: { after: 0, width },
    dQuery: { after: width, width },
    dKey: { after: 2 * width, width: keyValueWidth },
    dValue: { after: 2 * width + keyValueWidth, width: keyValueWidth },
  } satisfies Places<string>;
}

/** A block, and the memory that one microbatch uses in it, cut to the microbatch's size. */
export interface BlockPass {
  readonly weights: BlockTensors;
  readonly gradients: BlockTensors;
  readonly kept: BlockActivations;
  readonly scratch: BlockScratch;
  /** [tokens, width]; the next block's input. */
  readonly output: Slice;
}

/** Reads `kept.input`, fills the rest of `kept`, writes `output`. */
export function blockForward(kernels: Kernels, model: ModelConfig, shape: BlockShape, block: BlockPass): void {
  const { narrow } = shapes(model, shape);
  const { weights, kept, output } = block;
  const { activated } = block.scratch;

  blockActivate(kernels, model, shape, block);
  kernels.swigluForward(activated, kept.gate, kept.up);
  linearForward(kernels, output, activated, weights.down, narrow);
  kernels.add(output, output, kept.middle);
}

/** The part of the forward pass that the backward pass needs: reads `kept.input`, fills the rest of `kept`. */
export function blockActivate(kernels: Kernels, model: ModelConfig, shape: BlockShape, block: BlockPass): void {
  const { norm, square, keyValue, widen, rotary, attention } = shapes(model, shape);
  const { weights, kept } = block;
  const { normed } = block.scratch;
  const key = lastRows(kept.key, shape);
  const value = lastRows(kept.value, shape);

  kernels.rmsNormForward(normed, kept.attentionInverseRms, kept.input, weights.attentionNorm, norm);
  linearForward(kernels, kept.query, normed, weights.query, square);
  linearForward(kernels, key, normed, weights.key, keyValue);
  linearForward(kernels, value, normed, weights.value, keyValue);
  kernels.rotary(kept.query, { ...rotary, heads: model.heads });
  kernels.rotary(key, { ...rotary, heads: model.keyValueHeads });
  kernels.attentionForward(kept.mixed, kept.logSumExp, kept.query, kept.key, kept.value, attention);
  linearForward(kernels, kept.middle, kept.mixed, weights.output, square);
  kernels.add(kept.middle, kept.middle, kept.input);

  kernels.rmsNormForward(normed, kept.feedForwardInverseRms, kept.middle, weights.feedForwardNorm, norm);
  linearForward(kernels, kept.gate, normed, weights.gate, widen);
  linearForward(kernels, kept.up, normed, weights.up, widen);
}

/**
 * `dx`: [tokens, width] holds the gradient of the block's output and is turned into that of its input; the residual paths
 * are why it is only ever added to. Parameter gradients are added to `gradients`. Spends `kept`: it cannot be used again.
 */
export function blockBackward(
  kernels: Kernels,
  model: ModelConfig,
  shape: BlockShape,
  block: BlockPass,
  dx: Slice,
): void {
  const { norm, square, keyValue, widen, narrow, rotary, attention } = shapes(model, shape);
  const { weights, gradients, kept } = block;
  const { normed, activated, dNormed, dMixed, dQuery, dKey, dValue } = block.scratch;

  const [dGate, dUp, dActivated] = [kept.gate, kept.up, activated];
  linearBackwardInput(kernels, dActivated, dx, weights.down, narrow);
  kernels.swigluBackward(dGate, dUp, activated, dActivated, kept.gate, kept.up);
  linearBackwardWeight(kernels, gradients.down, dx, activated, narrow);
  kernels.rmsNormForward(normed, kept.feedForwardInverseRms, kept.middle, weights.feedForwardNorm, norm);
  linearBackwardWeight(kernels, gradients.gate, dGate, normed, widen);
  linearBackwardWeight(kernels, gradients.up, dUp, normed, widen);
  linearBackwardInput(kernels, dNormed, dGate, weights.gate, widen);
  linearBackwardInput(kernels, dNormed, dUp, weights.up, { ...widen, accumulate: true });
  const dMiddle = dx;
  kernels.rmsNormBackward(
    dMiddle,
    gradients.feedForwardNorm,
    dNormed,
    kept.middle,
    weights.feedForwardNorm,
    kept.feedForwardInverseRms,
    norm,
  );

  linearBackwardWeight(kernels, gradients.output, dMiddle, kept.mixed, square);
  linearBackwardInput(kernels, dMixed, dMiddle, weights.output, square);
  kernels.attentionBackward(
    dQuery,
    dKey,
    dValue,
    dMixed,
    kept.query,
    kept.key,
    kept.value,
    kept.mixed,
    kept.logSumExp,
    attention,
  );
  kernels.rotary(dQuery, { ...rotary, heads: model.heads, inverse: true });
  kernels.rotary(dKey, { ...rotary, heads: model.keyValueHeads, inverse: true });
  kernels.rmsNormForward(normed, kept.attentionInverseRms, kept.input, weights.attentionNorm, norm);
  linearBackwardWeight(kernels, gradients.query, dQuery, normed, square);
  linearBackwardWeight(kernels, gradients.key, dKey, normed, keyValue);
  linearBackwardWeight(kernels, gradients.value, dValue, normed, keyValue);
  linearBackwardInput(kernels, dNormed, dQuery, weights.query, square);
  linearBackwardInput(kernels, dNormed, dKey, weights.key, { ...keyValue, accumulate: true });
  linearBackwardInput(kernels, dNormed, dValue, weights.value, { ...keyValue, accumulate: true });
  kernels.rmsNormBackward(
    dMiddle,
    gradients.attentionNorm,
    dNormed,
    kept.input,
    weights.attentionNorm,
    kept.attentionInverseRms,
    norm,
  );
}

function shapes(model: ModelConfig, { sequences, queries, keys }: BlockShape) {
  const { width, heads, keyValueHeads, feedForward } = model;
  const rows = sequences * queries;
  const headDim = width / heads;
  return {
    norm: { rows, width, epsilon: model.normEpsilon },
    square: { rows, inputs: width, outputs: width },
    keyValue: { rows, inputs: width, outputs: headDim * keyValueHeads },
    widen: { rows, inputs: width, outputs: feedForward },
    narrow: { rows, inputs: feedForward, outputs: width },
    rotary: {
      batch: sequences,
      sequence: queries,
      headDim,
      base: model.rotaryBase,
      positionOffset: keys - queries,
    },
    attention: { batch: sequences, queries, keys, heads, keyValueHeads, headDim },
  };
}

/** The rows of a key or value matrix that belong to the tokens passing through, behind those already cached. */
function lastRows(all: Slice, { queries, keys }: BlockShape): Slice {
  const cached = (all.length / keys) * (keys - queries);
  return slice(all.buffer, all.offset + cached, all.length - cached);
}
