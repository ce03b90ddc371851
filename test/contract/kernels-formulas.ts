/**
 * What the kernels compute, written down once more and differently: whole matrices instead of loops over offsets, complex
 * numbers for the rotation, difference quotients for the gradients. Float64 arrays in, float64 arrays out.
 */
import type { AdamOptions, AttentionShape, ColumnsShape, MatmulShape, RotaryShape } from "../../src/compute/kernels.ts";

export type Values = Float64Array;
type Matrix = readonly (readonly number[])[];

function matrixOf(values: Values, columns: number): Matrix {
  return Array.from({ length: values.length / columns }, (_, row) => [
    ...values.subarray(row * columns, (row + 1) * columns),
  ]);
}

function valuesOf(matrix: Matrix): Values {
  return Float64Array.from(matrix.flat());
}

function transposed(matrix: Matrix): Matrix {
  return (matrix[0] ?? []).map((_, column) => matrix.map((row) => row[column] ?? Number.NaN));
}

export function innerProduct(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] ?? Number.NaN) * (b[i] ?? Number.NaN);
  return sum;
}

function product(a: Matrix, b: Matrix): Matrix {
  const columns = transposed(b);
  return a.map((row) => columns.map((column) => innerProduct(row, column)));
}

export function zipped(a: Values, b: Values, combine: (a: number, b: number) => number): Values {
  return a.map((value, index) => combine(value, b[index] ?? Number.NaN));
}

export function addColumns(out: Values, source: Values, { columns, outWidth, sourceWidth }: ColumnsShape): Values {
  const from = matrixOf(source, sourceWidth);
  const sums = matrixOf(out, outWidth).map((row, r) =>
    row.map((value, c) => (c < columns ? value + (from[r]?.[c] ?? Number.NaN) : value)),
  );
  return valuesOf(sums);
}

export function matmul(out: Values, a: Values, b: Values, shape: MatmulShape): Values {
  const { m, n, k } = shape;
  const left = shape.transposeA ? transposed(matrixOf(a, m)) : matrixOf(a, k);
  const right = shape.transposeB ? transposed(matrixOf(b, k)) : matrixOf(b, n);
  const result = valuesOf(product(left, right));
  return shape.accumulate ? zipped(out, result, (before, added) => before + added) : result;
}

export function embedding(table: Values, tokens: Int32Array, width: number): Values {
  const rows = matrixOf(table, width);
  return valuesOf(Array.from(tokens, (token) => rows[token] ?? []));
}

export function inverseRms(x: Values, width: number, epsilon: number): Values {
  return Float64Array.from(matrixOf(x, width), (row) => (innerProduct(row, row) / width + epsilon) ** -0.5);
}

export function rmsNorm(x: Values, gain: Values, epsilon: number): Values {
  const factors = inverseRms(x, gain.length, epsilon);
  return x.map(
    (value, index) => value * (factors[Math.floor(index / gain.length)] ?? 0) * (gain[index % gain.length] ?? 0),
  );
}

/** Channels c and c + headDim/2 are the parts of a complex number that is multiplied by e^(i · angle). */
export function rotary(x: Values, shape: RotaryShape): Values {
  const half = shape.headDim / 2;
  const heads = matrixOf(x, shape.headDim);
  return valuesOf(
    heads.map((head, index) => {
      const position = shape.positionOffset + (Math.floor(index / shape.heads) % shape.sequence);
      return head.map((_, channel) => {
        const pair = channel % half;
        const angle = (shape.inverse ? -1 : 1) * position * Math.exp((-pair / half) * Math.log(shape.base));
        const [real, imaginary] = [head[pair] ?? 0, head[pair + half] ?? 0];
        return channel < half
          ? real * Math.cos(angle) - imaginary * Math.sin(angle)
          : real * Math.sin(angle) + imaginary * Math.cos(angle);
      });
    }),
  );
}

/** The whole score matrix, masked; its softmax; and the product with the values. */
export function attention(q: Values, k: Values, v: Values, shape: AttentionShape) {
  const { batch, queries, keys, heads, keyValueHeads, headDim } = shape;
  const out = new Float64Array(q.length);
  const logSumExp = new Float64Array(batch * heads * queries);
  for (let sequence = 0; sequence < batch; sequence++)
    for (let head = 0; head < heads; head++) {
      const keyHead = Math.floor((head * keyValueHeads) / heads);
      const part = (tensor: Values, positions: number, ofHeads: number, index: number): Matrix =>
        matrixOf(tensor, headDim).filter(
          (_, row) => Math.floor(row / (positions * ofHeads)) === sequence && row % ofHeads === index,
        );
      const scores = product(part(q, queries, heads, head), transposed(part(k, keys, keyValueHeads, keyHead))).map(
        (row, i) => row.map((score, j) => (j <= keys - queries + i ? score / Math.sqrt(headDim) : -Infinity)),
      );
      const sums = scores.map((row) => Math.log(row.reduce((sum, score) => sum + Math.exp(score), 0)));
      const probabilities = scores.map((row, i) => row.map((score) => Math.exp(score - (sums[i] ?? 0))));
      logSumExp.set(sums, (sequence * heads + head) * queries);
      product(probabilities, part(v, keys, keyValueHeads, keyHead)).forEach((row, i) => {
        out.set(row, ((sequence * queries + i) * heads + head) * headDim);
      });
    }
  return { out, logSumExp };
}

export function swiglu(gate: Values, up: Values): Values {
  return zipped(gate, up, (g, u) => (g * u * (1 + Math.tanh(g / 2))) / 2);
}

export function crossEntropyLosses(logits: Values, targets: Int32Array, width: number): Values {
  return Float64Array.from(matrixOf(logits, width), (row, index) =>
    Math.log(row.reduce((sum, logit) => sum + Math.exp(logit - (row[targets[index] ?? 0] ?? 0)), 0)),
  );
}

/** The moments and then the parameters, each as a vector equation. */
export function adam(parameters: Values, gradients: Values, first: Values, second: Values, options: AdamOptions) {
  const { beta1, beta2, momentRate, gradientRate, rootScale, epsilon, decayRate } = options;
  const scaled = gradients.map((gradient) => gradient * options.gradientScale);
  const firstMoment = zipped(first, scaled, (mean, gradient) => mean + (1 - beta1) * (gradient - mean));
  const secondMoment = zipped(second, scaled, (square, gradient) => square + (1 - beta2) * (gradient ** 2 - square));
  const numerator = zipped(firstMoment, scaled, (mean, gradient) => mean * momentRate + gradient * gradientRate);
  const update = zipped(numerator, secondMoment, (top, square) => top / (epsilon + rootScale * Math.sqrt(square)));
  const decayed = parameters.map((parameter) => parameter * (1 - decayRate));
  return { parameters: zipped(decayed, update, (parameter, by) => parameter - by), firstMoment, secondMoment };
}

/** The gradient of a scalar function of `at` by central differences. Calls the function twice per element. */
export function numericGradient(scalar: (at: Values) => number, at: Values): Values {
  const distance = 1e-5;
  return at.map((value, index) => {
    const moved = (by: number) => scalar(at.with(index, value + by));
    return (moved(distance) - moved(-distance)) / (2 * distance);
  });
}

/** ‖a − b‖ / ‖b‖. A gradient that cancels to zero has no size to compare with: below 0.1, ‖b‖ counts as 0.1. */
export function relativeDistance(a: Values, b: Values): number {
  const difference = zipped(a, b, (x, y) => x - y);
  return Math.sqrt(innerProduct(difference, difference) / Math.max(innerProduct(b, b), 0.01));
}
