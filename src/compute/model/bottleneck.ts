/**
 * One half of a residual bottleneck, forward and backward (after ResBM, Aboudib 2026):
 *
 *     encoder: [tokens, width] → [tokens, rank]     decoder: [tokens, rank] → [tokens, width]
 *     output = resize(input) + swiglu(norm(input)) · downᵀ
 *
 * `resize` keeps the first `rank` channels, or puts zeros behind them: the residual stream goes on across the boundary in its first
 * channels, and what they do not hold is for the learned part to bring along. `down` starts as zeros, so that a model starts as if
 * it were cut off there. Conventions as in `block.ts`.
 */
import type { Kernels, Slice } from "../kernels.ts";
import type { ModelConfig } from "./config.ts";
import type { HalfTensors } from "./layout.ts";
import { linearBackwardInput, linearBackwardWeight, linearForward } from "./linear.ts";
import type { Places, Rows, Widths } from "./memory.ts";
import type { BottleneckHalf } from "./parts.ts";

/** What the forward pass leaves for the backward pass. */
export type HalfActivations = Rows<keyof ReturnType<typeof halfWidths>>;
export type HalfScratch = Rows<keyof ReturnType<typeof halfScratch>>;

export interface HalfShape {
  /** Channels that enter, and that leave. */
  readonly inputs: number;
  readonly outputs: number;
  /** Channels inside the SwiGLU. */
  readonly hidden: number;
  /** Channels that go on as they are. */
  readonly rank: number;
}

/** Throws for a model that has no bottleneck. */
export function halfShape({ width, bottleneck }: ModelConfig, { kind }: BottleneckHalf): HalfShape {
  if (bottleneck === undefined) throw new Error("a half of a bottleneck, in a model without one");
  const { rank, hidden } = bottleneck;
  return kind === "encoder"
    ? { inputs: width, outputs: rank, hidden, rank }
    : { inputs: rank, outputs: width, hidden, rank };
}

/** Three matrices and a norm gain. */
export function halfParameterCount({ inputs, outputs, hidden }: HalfShape): number {
  return hidden * (2 * inputs + outputs) + inputs;
}

export function halfWidths({ inputs, hidden }: HalfShape) {
  return { input: inputs, inverseRms: 1, gate: hidden, up: hidden } satisfies Widths<string>;
}

/** They take turns. */
export function halfScratch({ inputs, hidden }: HalfShape) {
  return {
    normed: { after: 0, width: inputs },
    activated: { after: 0, width: hidden },
    dNormed: { after: 0, width: inputs },
  } satisfies Places<string>;
}

/** A half, and the memory that one microbatch uses in it, cut to the microbatch's size. */
export interface HalfPass {
  readonly shape: HalfShape;
  readonly weights: HalfTensors;
  readonly gradients: HalfTensors;
  readonly kept: HalfActivations;
  readonly scratch: HalfScratch;
  /** [tokens, outputs]. */
  readonly output: Slice;
}

/** Reads `kept.input`, fills the rest of `kept`, writes `output`. */
export function halfForward(kernels: Kernels, model: ModelConfig, half: HalfPass): void {
  const { weights, kept, output, scratch } = half;
  const { norm, widen, narrow, columns } = shapes(model, half);
  const { normed, activated } = scratch;
  kernels.rmsNormForward(normed, kept.inverseRms, kept.input, weights.norm, norm);
  linearForward(kernels, kept.gate, normed, weights.gate, widen);
  linearForward(kernels, kept.up, normed, weights.up, widen);
  kernels.swigluForward(activated, kept.gate, kept.up);
  linearForward(kernels, output, activated, weights.down, narrow);
  kernels.addColumns(output, kept.input, columns);
}

/**
 * dOutput: [tokens, outputs] → dInput: [tokens, inputs], which is overwritten. Parameter gradients are added to `gradients`. Spends
 * `kept`.
 */
export function halfBackward(
  kernels: Kernels,
  model: ModelConfig,
  half: HalfPass,
  dInput: Slice,
  dOutput: Slice,
): void {
  const { weights, gradients, kept, scratch } = half;
  const { norm, widen, narrow, columns } = shapes(model, half);
  const { normed, activated, dNormed } = scratch;
  const [dGate, dUp, dActivated] = [kept.gate, kept.up, activated];
  linearBackwardInput(kernels, dActivated, dOutput, weights.down, narrow);
  kernels.swigluBackward(dGate, dUp, activated, dActivated, kept.gate, kept.up);
  linearBackwardWeight(kernels, gradients.down, dOutput, activated, narrow);
  kernels.rmsNormForward(normed, kept.inverseRms, kept.input, weights.norm, norm);
  linearBackwardWeight(kernels, gradients.gate, dGate, normed, widen);
  linearBackwardWeight(kernels, gradients.up, dUp, normed, widen);
  linearBackwardInput(kernels, dNormed, dGate, weights.gate, widen);
  linearBackwardInput(kernels, dNormed, dUp, weights.up, { ...widen, accumulate: true });
  kernels.fill(dInput, 0);
  kernels.addColumns(dInput, dOutput, { ...columns, outWidth: columns.sourceWidth, sourceWidth: columns.outWidth });
  kernels.rmsNormBackward(dInput, gradients.norm, dNormed, kept.input, weights.norm, kept.inverseRms, norm);
}

function shapes(model: ModelConfig, { shape, kept }: HalfPass) {
  const { inputs, outputs, hidden, rank } = shape;
  const rows = kept.inverseRms.length;
  return {
    norm: { rows, width: inputs, epsilon: model.normEpsilon },
    widen: { rows, inputs, outputs: hidden },
    narrow: { rows, inputs: hidden, outputs },
    columns: { rows, columns: rank, outWidth: outputs, sourceWidth: inputs },
  };
}
