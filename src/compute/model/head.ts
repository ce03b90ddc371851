/** The last stage's end: final norm, output head and loss. Every matrix has one row per token. */
import type { Kernels, Slice } from "../kernels.ts";
import type { ModelConfig } from "./config.ts";
import type { HeadTensors } from "./layout.ts";
import { linearBackwardInput, linearBackwardWeight, linearForward } from "./linear.ts";
import type { Rows, Widths } from "./memory.ts";

/** Working space: the head runs forward and backward in one go, so nothing is kept per microbatch. */
export type HeadRows = Rows<keyof ReturnType<typeof headWidths>>;

export interface HeadPass {
  readonly weights: HeadTensors;
  readonly gradients: HeadTensors;
  readonly rows: HeadRows;
  /** int32 [tokens]. */
  readonly targets: Slice;
}

export function headWidths(model: ModelConfig) {
  return {
    normed: model.width,
    dNormed: model.width,
    inverseRms: 1,
    logits: model.vocabulary,
    losses: 1,
  } satisfies Widths<string>;
}

/** x: [tokens, width] → `rows.logits`. */
export function headForward(kernels: Kernels, model: ModelConfig, { weights, rows }: HeadPass, x: Slice): void {
  const { norm, linear } = shapes(model, x);
  kernels.rmsNormForward(rows.normed, rows.inverseRms, x, weights.norm, norm);
  linearForward(kernels, rows.logits, rows.normed, weights.head, linear);
}

/** `rows.logits` → `rows.losses`, in nats, one per token; the logits are overwritten by their gradient. */
export function headLoss(kernels: Kernels, model: ModelConfig, { rows, targets }: HeadPass): void {
  const shape = { rows: targets.length, width: model.vocabulary, gradientScale: 1 };
  kernels.crossEntropy(rows.losses, rows.logits, targets, shape);
}

/** After `headLoss`: writes the gradient of the summed loss with respect to x into `dx`; adds parameter gradients. */
export function headBackward(kernels: Kernels, model: ModelConfig, head: HeadPass, dx: Slice, x: Slice): void {
  const { norm, linear } = shapes(model, x);
  const { weights, gradients, rows } = head;
  const dLogits = rows.logits;
  linearBackwardWeight(kernels, gradients.head, dLogits, rows.normed, linear);
  linearBackwardInput(kernels, rows.dNormed, dLogits, weights.head, linear);
  kernels.fill(dx, 0);
  kernels.rmsNormBackward(dx, gradients.norm, rows.dNormed, x, weights.norm, rows.inverseRms, norm);
}

function shapes(model: ModelConfig, x: Slice) {
  const rows = x.length / model.width;
  return {
    norm: { rows, width: model.width, epsilon: model.normEpsilon },
    linear: { rows, inputs: model.width, outputs: model.vocabulary },
  };
}
