/** A linear layer without bias, y = x · Wᵀ. x: [rows, inputs]; W: [outputs, inputs]; y: [rows, outputs]. */
import type { Kernels, Slice } from "../kernels.ts";

export interface LinearShape {
  readonly rows: number;
  readonly inputs: number;
  readonly outputs: number;
}

export function linearForward(kernels: Kernels, y: Slice, x: Slice, weight: Slice, shape: LinearShape): void {
  kernels.matmul(y, x, weight, { m: shape.rows, n: shape.outputs, k: shape.inputs, transposeB: true });
}

/** dx = dy · W, or dx += dy · W where `x` feeds several layers. */
export function linearBackwardInput(
  kernels: Kernels,
  dx: Slice,
  dy: Slice,
  weight: Slice,
  shape: LinearShape & { readonly accumulate?: boolean },
): void {
  const { rows, inputs, outputs, accumulate = false } = shape;
  kernels.matmul(dx, dy, weight, { m: rows, n: inputs, k: outputs, accumulate });
}

/** dW += dyᵀ · x. */
export function linearBackwardWeight(kernels: Kernels, dWeight: Slice, dy: Slice, x: Slice, shape: LinearShape): void {
  const { rows, inputs, outputs } = shape;
  kernels.matmul(dWeight, dy, x, { m: outputs, n: inputs, k: rows, transposeA: true, accumulate: true });
}
