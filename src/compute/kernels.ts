/**
 * The contract between the model and the hardware.
 *
 * A `Device` owns memory and a table of about twenty operations on it, the `Kernels`. The model's
 * forward and backward passes (`model/`) are written once, as calls on this table. Every back end
 * (`backends/reference`, `backends/native`, …) implements this file and passes the one contract suite
 * in `test/contract/kernels.ts`.
 *
 * Conventions
 * - A `Slice` is a contiguous range of a device buffer, counted in elements. Matrices are row-major.
 * - "Real" buffers hold the device's floating-point type (f32; the reference back end stores f64);
 *   "index" buffers hold int32 (token ids).
 * - Kernels may run asynchronously; they take effect in call order. `download` waits for all of them.
 * - Outputs are overwritten unless the name or an option says `accumulate`. Outputs never alias inputs
 *   unless the docstring allows it.
 * - Arguments are checked by `backends/argument-checks.ts`, in front of every back end; a wrong shape is a bug and throws.
 */

export type DeviceKind = "reference" | "native" | "webgpu";

/** The numbers that matrix products multiply. But in "f32" they are rounded first; everything is stored and summed as in "f32". */
export type Precision = "f32" | "bf16" | "f16";

export interface DeviceBuffer {
  readonly length: number;
  readonly element: "real" | "index";
}

export interface Slice {
  readonly buffer: DeviceBuffer;
  /** First element, counted from the start of the buffer. */
  readonly offset: number;
  /** Number of elements. */
  readonly length: number;
}

export interface DeviceDescription {
  readonly kind: DeviceKind;
  /** What a person would call it, such as "AMD EPYC, 2 threads, AVX-512". */
  readonly name: string;
  readonly threads: number;
}

/**
 * Memory that kernels take for themselves, next to the buffers that they are given: for each that takes much, how many bytes.
 * They run one after the other and share it, so that a device ends up holding what its largest call takes.
 */
export interface Workspace {
  matmulBytes(shape: MatmulShape): number;
  attentionForwardBytes(shape: AttentionShape): number;
  attentionBackwardBytes(shape: AttentionShape): number;
  /** What the device holds by now. */
  heldBytes(): number;
}

/** Of back ends whose kernels take next to nothing. */
export const noWorkspace: Workspace = {
  matmulBytes: () => 0,
  attentionForwardBytes: () => 0,
  attentionBackwardBytes: () => 0,
  heldBytes: () => 0,
};

export interface Device {
  readonly description: DeviceDescription;
  readonly kernels: Kernels;
  /** Elements of the largest operand that kernels take whatever they do with it; infinite where only memory limits them. */
  readonly largestOperand: number;
  readonly workspace: Workspace;
  /** Zero-filled real buffer of `length` elements. Throws `DeviceMemoryError` when it does not fit. */
  allocate(length: number): DeviceBuffer;
  /** Zero-filled int32 buffer of `length` elements. */
  allocateIndices(length: number): DeviceBuffer;
  /** Gives the memory back; using the buffer afterwards throws. */
  free(buffer: DeviceBuffer): void;
  upload(target: Slice, values: Float32Array | Float64Array): void;
  uploadIndices(target: Slice, values: Int32Array): void;
  /** Copies device memory out, after all kernels called so far: into `target`, or into a new array. */
  download(source: Slice, target?: Float32Array): Promise<Float32Array>;
  /** As `download`, in double precision: the reference back end loses nothing here. */
  downloadDouble(source: Slice): Promise<Float64Array>;
  /** Frees every buffer and stops the device's threads. */
  close(): void;
}

export interface MatmulShape {
  /** Rows of the result. */
  readonly m: number;
  /** Columns of the result. */
  readonly n: number;
  /** Length of the contracted dimension. */
  readonly k: number;
  /** When set, `a` is stored [k, m] instead of [m, k]. */
  readonly transposeA?: boolean;
  /** When set, `b` is stored [n, k] instead of [k, n]. */
  readonly transposeB?: boolean;
  /** When set, the product is added to `out`. */
  readonly accumulate?: boolean;
}

export interface RowShape {
  readonly rows: number;
  readonly width: number;
}

export interface ColumnsShape {
  readonly rows: number;
  /** Columns that are added: no more than either matrix has. */
  readonly columns: number;
  /** Columns of a row of `out`, and of `source`. */
  readonly outWidth: number;
  readonly sourceWidth: number;
}

export interface RotaryShape {
  readonly batch: number;
  readonly sequence: number;
  readonly heads: number;
  readonly headDim: number;
  /** Rotary base, θ in Su 2021 §3.2.2; 10,000 in Llama 1–2, 500,000 in Llama 3. */
  readonly base: number;
  /** Position of the first row of every sequence; more than 0 when decoding with a cache. */
  readonly positionOffset: number;
  /** When set, rotates the other way: the backward pass. */
  readonly inverse?: boolean;
}

export interface AttentionShape {
  readonly batch: number;
  /** Query positions per sequence. They are the last `queries` of the `keys` positions. */
  readonly queries: number;
  /** Key and value positions per sequence; equal to `queries` in training. */
  readonly keys: number;
  readonly heads: number;
  /** Heads of k and v; divides `heads` (grouped-query attention). */
  readonly keyValueHeads: number;
  readonly headDim: number;
}

/** A step of AdamW, NAdam or a relative: learning rate, bias correction and weight decay are in the coefficients. */
export interface AdamOptions {
  /** The gradient is multiplied by this first (1 / tokens, times a clipping factor). */
  readonly gradientScale: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly momentRate: number;
  readonly gradientRate: number;
  readonly rootScale: number;
  readonly epsilon: number;
  readonly decayRate: number;
}

export interface Kernels {
  /** out[i] = value. */
  fill(out: Slice, value: number): void;
  /** out = source. Same length, same element type. */
  copy(out: Slice, source: Slice): void;
  /** out = a + b; `out` may alias `a` or `b`. */
  add(out: Slice, a: Slice, b: Slice): void;
  /** out += factor · x. */
  addScaled(out: Slice, x: Slice, factor: number): void;
  /** out[row, c] += source[row, c], for c < columns: the first columns of one matrix, to those of another. */
  addColumns(out: Slice, source: Slice, shape: ColumnsShape): void;

  /** out[m, n] (+)= a · b. */
  matmul(out: Slice, a: Slice, b: Slice, shape: MatmulShape): void;

  /** out[rows, width] = table[tokens[row], :]. tokens: int32 [rows]; table: [vocabulary, width]. */
  embeddingForward(out: Slice, table: Slice, tokens: Slice, shape: RowShape): void;
  /** dTable[tokens[row], :] += dOut[row, :]. Deterministic: rows are added in order. */
  embeddingBackward(dTable: Slice, dOut: Slice, tokens: Slice, shape: RowShape): void;

  /**
   * RMSNorm, Zhang & Sennrich 2019: out = x · r · gain with r = 1/√(mean(x²) + epsilon).
   * x, out: [rows, width]; gain: [width]; inverseRms: [rows], kept for the backward pass.
   */
  rmsNormForward(
    out: Slice,
    inverseRms: Slice,
    x: Slice,
    gain: Slice,
    shape: RowShape & { readonly epsilon: number },
  ): void;
  /** dx += the gradient through the norm; dGain += Σ_rows dOut · x · r. Both accumulate. */
  rmsNormBackward(
    dx: Slice,
    dGain: Slice,
    dOut: Slice,
    x: Slice,
    gain: Slice,
    inverseRms: Slice,
    shape: RowShape,
  ): void;

  /**
   * Rotary position embedding in place, "half" layout (Llama): the pair of channel c is c + headDim/2.
   * x: [batch · sequence, heads · headDim].
   */
  rotary(x: Slice, shape: RotaryShape): void;

  /**
   * Causal attention. q, out: [batch · queries, heads · headDim]; k, v: [batch · keys, keyValueHeads · headDim];
   * logSumExp: [batch · heads · queries], kept for the backward pass. Scores are scaled by 1/√headDim; query i
   * sees keys 0 … keys − queries + i. The score matrix is never stored. Dao 2022, alg. 1.
   */
  attentionForward(out: Slice, logSumExp: Slice, q: Slice, k: Slice, v: Slice, shape: AttentionShape): void;
  /** dq, dk, dv are overwritten; shapes as q, k, v. Dao 2022, alg. 4. */
  attentionBackward(
    dq: Slice,
    dk: Slice,
    dv: Slice,
    dOut: Slice,
    q: Slice,
    k: Slice,
    v: Slice,
    out: Slice,
    logSumExp: Slice,
    shape: AttentionShape,
  ): void;

  /** out = silu(gate) · up, Shazeer 2020. All of one length. */
  swigluForward(out: Slice, gate: Slice, up: Slice): void;
  /**
   * dGate and dUp are overwritten, and `activated` by what the forward pass gave: nobody needs to keep it, nor compute it in a
   * pass of its own. `dGate` may alias `gate`, `dUp` may alias `up`, and `activated` may alias `dOut`.
   */
  swigluBackward(dGate: Slice, dUp: Slice, activated: Slice, dOut: Slice, gate: Slice, up: Slice): void;

  /**
   * Softmax cross-entropy. logits: [rows, width = vocabulary], overwritten by their gradient, softmax − one-hot, times
   * `gradientScale`; targets: int32 [rows]; losses: [rows], −log p(target) in nats.
   */
  crossEntropy(
    losses: Slice,
    logits: Slice,
    targets: Slice,
    shape: RowShape & { readonly gradientScale: number },
  ): void;

  /** out[0] = Σ x², accumulated in double precision. out has length 1. */
  squaredNorm(out: Slice, x: Slice): void;

  /**
   * In one pass, with g = gradientScale · gradient: m = beta1 · m + (1 − beta1) · g; v = beta2 · v + (1 − beta2) · g²;
   * parameters −= (momentRate · m + gradientRate · g) / (rootScale · √v + epsilon) + decayRate · parameters.
   * All slices of one length; gradients are read only. Throws `RangeError` where an option is not finite.
   */
  adam(parameters: Slice, gradients: Slice, firstMoment: Slice, secondMoment: Slice, options: AdamOptions): void;
  /**
   * Outer step of DiLoCo (Douillard 2023, alg. 1) with Nesterov momentum, on the averaged pseudo-gradient g = start − now:
   * momentumBuffer = momentum · momentumBuffer + g; parameters −= learningRate · (g + momentum · momentumBuffer).
   * On entry `parameters` holds the weights at the epoch's start.
   */
  outerNesterov(
    parameters: Slice,
    momentumBuffer: Slice,
    pseudoGradient: Slice,
    options: { readonly learningRate: number; readonly momentum: number },
  ): void;
}

/** There is no room: on the device, or within the limit. An expected failure: choose a smaller stage or microbatch. */
export class DeviceMemoryError extends Error {
  override readonly name = "DeviceMemoryError";
  readonly requestedBytes: number;
  constructor(requestedBytes: number, place: string, what = `a buffer of ${requestedBytes} bytes`) {
    super(`${place} has no room for ${what}`);
    this.requestedBytes = requestedBytes;
  }
}

/** This machine has no such device, or no driver for it. An expected failure: choose another back end. */
export class DeviceUnavailableError extends Error {
  override readonly name = "DeviceUnavailableError";
}

/**
 * The device went away: unplugged, reset by its driver, or updated under us. Its buffers are gone, and every later call throws
 * this too. An expected failure: open a device again, and go on from what was saved.
 */
export class DeviceLostError extends Error {
  override readonly name = "DeviceLostError";
  constructor(device: string, reason: string) {
    super(`${device} was lost: ${reason}`);
  }
}

/** A slice of a whole buffer, or of a part of it. Throws `RangeError` when it does not fit. */
export function slice(buffer: DeviceBuffer, offset = 0, length = buffer.length - offset): Slice {
  if (offset < 0 || length < 0 || offset + length > buffer.length)
    throw new RangeError(`slice ${offset}+${length} of a buffer of ${buffer.length}`);
  return { buffer, offset, length };
}
