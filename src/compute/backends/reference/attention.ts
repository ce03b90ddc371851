import type { AttentionShape, Slice } from "../../kernels.ts";
import { accumulate, at, reals } from "./memory.ts";

/** One query of one head: where its vectors start, and the keys it may see. */
interface Query {
  /** Element of q, out and their gradients where this query's head vector starts. */
  readonly start: number;
  /** Element of logSumExp. */
  readonly row: number;
  /** Number of keys that causality lets it see. */
  readonly visible: number;
  /** Element of k, v and their gradients where the head vector of key `j` starts. */
  keyStart(j: number): number;
}

export function attentionForward(
  outSlice: Slice,
  logSumExpSlice: Slice,
  qSlice: Slice,
  kSlice: Slice,
  vSlice: Slice,
  shape: AttentionShape,
): void {
  const [out, logSumExp] = [reals(outSlice), reals(logSumExpSlice)];
  const [q, k, v] = [reals(qSlice), reals(kSlice), reals(vSlice)];
  const { headDim } = shape;
  const scale = 1 / Math.sqrt(headDim);
  out.fill(0);
  for (const { start, row, visible, keyStart } of queriesOf(shape)) {
    const scores = Array.from({ length: visible }, (_, j) => scale * dot(q, start, k, keyStart(j), headDim));
    const highest = scores.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
    const total = scores.reduce((sum, score) => sum + Math.exp(score - highest), 0);
    logSumExp[row] = highest + Math.log(total);
    scores.forEach((score, j) => {
      addVector(out, start, v, keyStart(j), Math.exp(score - highest) / total, headDim);
    });
  }
}

/** With p the softmax of the scores s: ds = p · (dOut · v − dOut · out), dq = Σ ds · k, dk = Σ ds · q, dv = Σ p · dOut. */
export function attentionBackward(
  dqSlice: Slice,
  dkSlice: Slice,
  dvSlice: Slice,
  dOutSlice: Slice,
  qSlice: Slice,
  kSlice: Slice,
  vSlice: Slice,
  outSlice: Slice,
  logSumExpSlice: Slice,
  shape: AttentionShape,
): void {
  const [dq, dk, dv, dOut] = [reals(dqSlice), reals(dkSlice), reals(dvSlice), reals(dOutSlice)];
  const [q, k, v, out, logSumExp] = [
    reals(qSlice),
    reals(kSlice),
    reals(vSlice),
    reals(outSlice),
    reals(logSumExpSlice),
  ];
  const { headDim } = shape;
  const scale = 1 / Math.sqrt(headDim);
  for (const gradient of [dq, dk, dv]) gradient.fill(0);
  for (const { start, row, visible, keyStart } of queriesOf(shape)) {
    const outDot = dot(dOut, start, out, start, headDim);
    for (let j = 0; j < visible; j++) {
      const key = keyStart(j);
      const p = Math.exp(scale * dot(q, start, k, key, headDim) - at(logSumExp, row));
      const dScore = p * (dot(dOut, start, v, key, headDim) - outDot) * scale;
      addVector(dv, key, dOut, start, p, headDim);
      addVector(dq, start, k, key, dScore, headDim);
      addVector(dk, key, q, start, dScore, headDim);
    }
  }
}

function* queriesOf({ batch, queries, keys, heads, keyValueHeads, headDim }: AttentionShape): Generator<Query> {
  const headsPerGroup = heads / keyValueHeads;
  for (let sequence = 0; sequence < batch; sequence++)
    for (let head = 0; head < heads; head++) {
      const group = Math.floor(head / headsPerGroup);
      const keyStart = (j: number) => ((sequence * keys + j) * keyValueHeads + group) * headDim;
      for (let i = 0; i < queries; i++)
        yield {
          start: ((sequence * queries + i) * heads + head) * headDim,
          row: (sequence * heads + head) * queries + i,
          visible: keys - queries + i + 1,
          keyStart,
        };
    }
}

function dot(a: Float64Array, aStart: number, b: Float64Array, bStart: number, length: number): number {
  let sum = 0;
  for (let c = 0; c < length; c++) sum += at(a, aStart + c) * at(b, bStart + c);
  return sum;
}

/** to[toStart …] += factor · from[fromStart …]. */
function addVector(
  to: Float64Array,
  toStart: number,
  from: Float64Array,
  fromStart: number,
  factor: number,
  length: number,
): void {
  for (let c = 0; c < length; c++) accumulate(to, toStart + c, factor * at(from, fromStart + c));
}
