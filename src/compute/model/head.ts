/**
 * The last stage's end: final norm, output head and loss. Every matrix has one row per token.
 *
 * Logits are as wide as the vocabulary: of all tokens they would be the largest matrix by far. The head therefore goes
 * through the tokens in chunks of rows, forward and backward in one go, and nothing of a chunk outlives it.
 */
import type { Kernels, Slice } from "../kernels.ts";
import type { ModelConfig } from "./config.ts";
import type { HeadTensors } from "./layout.ts";
import { linearBackwardInput, linearBackwardWeight, linearForward } from "./linear.ts";
import { type Places, placeRows, type Rows, rowsOf, widthOf } from "./memory.ts";

export interface HeadPass {
  readonly weights: HeadTensors;
  readonly gradients: HeadTensors;
  /** Working space; at least `headScratchLength`. */
  readonly scratch: Slice;
  /** int32 [tokens]. */
  readonly targets: Slice;
  /** [tokens]: in nats. */
  readonly losses: Slice;
}

/** Elements of a chunk's logits: so few that they fit small machines, so many that reading the head again costs little. */
const mostLogits = 2 ** 24;
/** Of fewer rows a product cannot be computed at full speed, and rows come in multiples of it. */
const fewestRows = 128;

/** Rows of a chunk. The same however large the microbatch is, and so are the bits of the gradients' sums. */
function rowsAtOnce({ vocabulary }: ModelConfig): number {
  return fewestRows * Math.max(1, Math.floor(mostLogits / vocabulary / fewestRows));
}

/** Norm and gradient take turns: the one is read for the last time before the other is written. */
function headScratch({ width, vocabulary }: ModelConfig) {
  return {
    logits: { after: 0, width: vocabulary },
    normed: { after: vocabulary, width },
    dNormed: { after: vocabulary, width },
    inverseRms: { after: vocabulary + width, width: 1 },
  } satisfies Places<string>;
}

/** Elements of working space for microbatches of at most `tokens` tokens. */
export function headScratchLength(model: ModelConfig, tokens: number): number {
  return Math.min(tokens, rowsAtOnce(model)) * widthOf(headScratch(model));
}

/** Elements of a chunk's logits, of microbatches of at most `tokens` tokens. */
export function logitsLength(model: ModelConfig, tokens: number): number {
  return Math.min(tokens, rowsAtOnce(model)) * model.vocabulary;
}

/** The logits of a few tokens: x: [rows, width] → [rows, vocabulary], in working space. */
export function headLogits(kernels: Kernels, model: ModelConfig, head: HeadPass, x: Slice): Slice {
  const rows = x.length / model.width;
  const scratch = placeRows(head.scratch, headScratch(model), rows);
  logitsForward(kernels, model, head.weights, scratch, x);
  return scratch.logits;
}

/** x: [tokens, width] → `losses`. */
export function headLosses(kernels: Kernels, model: ModelConfig, head: HeadPass, x: Slice): void {
  for (const chunk of chunksOf(model, head, x)) chunkLoss(kernels, model, head, chunk);
}

/**
 * x: [tokens, width] → `losses`, and the gradient of their sum: with respect to x in `dx`, which is overwritten; parameter
 * gradients are added.
 */
export function headForwardBackward(kernels: Kernels, model: ModelConfig, head: HeadPass, dx: Slice, x: Slice): void {
  kernels.fill(dx, 0);
  for (const chunk of chunksOf(model, head, x)) {
    chunkLoss(kernels, model, head, chunk);
    chunkBackward(kernels, model, head, chunk, rowsOf(dx, model.width, chunk.first, chunk.rows));
  }
}

interface Chunk {
  readonly first: number;
  readonly rows: number;
  readonly x: Slice;
  readonly scratch: Rows<keyof ReturnType<typeof headScratch>>;
}

function chunksOf(model: ModelConfig, { scratch }: HeadPass, x: Slice): Chunk[] {
  const tokens = x.length / model.width;
  const atOnce = rowsAtOnce(model);
  return Array.from({ length: Math.ceil(tokens / atOnce) }, (_, index) => {
    const first = index * atOnce;
    const rows = Math.min(atOnce, tokens - first);
    return {
      first,
      rows,
      x: rowsOf(x, model.width, first, rows),
      scratch: placeRows(scratch, headScratch(model), rows),
    };
  });
}

/** Writes the chunk's losses; its logits are overwritten by their gradient. */
function chunkLoss(kernels: Kernels, model: ModelConfig, head: HeadPass, { first, rows, x, scratch }: Chunk): void {
  logitsForward(kernels, model, head.weights, scratch, x);
  const shape = { rows, width: model.vocabulary, gradientScale: 1 };
  const [losses, targets] = [rowsOf(head.losses, 1, first, rows), rowsOf(head.targets, 1, first, rows)];
  kernels.crossEntropy(losses, scratch.logits, targets, shape);
}

/** After `chunkLoss`. `dx`, of the chunk's rows, is added to. */
function chunkBackward(
  kernels: Kernels,
  model: ModelConfig,
  { weights, gradients }: HeadPass,
  { x, scratch }: Chunk,
  dx: Slice,
): void {
  const { norm, linear } = shapes(model, x);
  const { normed, dNormed, inverseRms, logits: dLogits } = scratch;
  linearBackwardWeight(kernels, gradients.head, dLogits, normed, linear);
  linearBackwardInput(kernels, dNormed, dLogits, weights.head, linear);
  kernels.rmsNormBackward(dx, gradients.norm, dNormed, x, weights.norm, inverseRms, norm);
}

function logitsForward(
  kernels: Kernels,
  model: ModelConfig,
  weights: HeadTensors,
  { normed, inverseRms, logits }: Chunk["scratch"],
  x: Slice,
): void {
  const { norm, linear } = shapes(model, x);
  kernels.rmsNormForward(normed, inverseRms, x, weights.norm, norm);
  linearForward(kernels, logits, normed, weights.head, linear);
}

function shapes(model: ModelConfig, x: Slice) {
  const rows = x.length / model.width;
  return {
    norm: { rows, width: model.width, epsilon: model.normEpsilon },
    linear: { rows, inputs: model.width, outputs: model.vocabulary },
  };
}
