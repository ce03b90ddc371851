/** What a codec saves, loses and takes, on normal numbers with a few outliers, as activations and gradients have them. */
import type { RowsShape } from "../../../src/compute/codec/rows.ts";
import { fillNormal, streamKey, uniform } from "../../../src/compute/random.ts";
import { rounded } from "../shared/report.ts";
import type { MeasuredCodec } from "./codec-list.ts";

/** Each of so many numbers is an outlier, so many times as large. */
const outlierEvery = 97;
const outlierFactor = 20;
const repeats = 50;
/** Fresh draws of one row, of which the mean is taken. */
const draws = 40_000;

export interface CodecFigures {
  readonly codec: string;
  readonly columns: number;
  /** To f32. */
  readonly ratio: number;
  /** √(Σ error² / Σ value²) */
  readonly relativeError: number;
  /** Of the fastest of some repeats. */
  readonly encodeNsPerElement: number;
  readonly decodeNsPerElement: number;
  /** As `relativeError`, of the mean of many draws; null for what has but one outcome. */
  readonly bias: number | null;
  /** What chance alone would make of it, as one standard deviation. */
  readonly biasByChance: number | null;
}

export function measureCodec(codec: MeasuredCodec, shape: RowsShape, seed: number): CodecFigures {
  const values = numbers(shape, seed);
  const out = new Float32Array(values.length);
  let payload: Uint8Array = new Uint8Array();
  const encodeNs = fastest(() => {
    payload = codec.encode(values, shape, seed);
  });
  const decodeNs = fastest(() => codec.decode(payload, shape, out));
  const isByChance = codec.name.endsWith("backward");
  return {
    codec: codec.name,
    columns: shape.columns,
    ratio: rounded((4 * values.length) / payload.length, 2),
    relativeError: rounded(relativeError(values, out), 5),
    encodeNsPerElement: rounded(encodeNs / values.length, 2),
    decodeNsPerElement: rounded(decodeNs / values.length, 2),
    ...(isByChance ? biasOf(codec, shape, seed) : { bias: null, biasByChance: null }),
  };
}

function numbers({ rows, columns }: RowsShape, seed: number): Float32Array {
  const values = new Float32Array(rows * columns);
  fillNormal(values, streamKey(seed, "values"), 1e-2);
  const key = streamKey(seed, "outliers");
  for (let i = 0; i < values.length; i += outlierEvery) {
    const place = i + Math.floor(uniform(key, 0, i) * outlierEvery);
    if (place < values.length) values[place] = outlierFactor * (values[place] as number);
  }
  return values;
}

function biasOf(codec: MeasuredCodec, { columns }: RowsShape, seed: number) {
  const rows = 400;
  const shape = { rows, columns };
  const row = numbers({ rows: 1, columns }, seed + 1);
  const repeated = Float32Array.from({ length: rows * columns }, (_, i) => row[i % columns] as number);
  const out = new Float32Array(repeated.length);
  const sums = new Float64Array(columns);
  let squaredErrors = 0;
  for (let draw = 0; draw < draws / rows; draw++) {
    codec.decode(codec.encode(repeated, shape, seed + draw), shape, out);
    for (let i = 0; i < out.length; i++) {
      const error = (out[i] as number) - (repeated[i] as number);
      sums[i % columns] = (sums[i % columns] as number) + error;
      squaredErrors += error ** 2;
    }
  }
  const length = Math.hypot(...row);
  return {
    bias: rounded(Math.hypot(...sums) / draws / length, 6),
    biasByChance: rounded(Math.sqrt(squaredErrors) / draws / length, 6),
  };
}

function relativeError(values: Float32Array, decoded: Float32Array): number {
  let [error, square] = [0, 0];
  for (let i = 0; i < values.length; i++) {
    error += ((decoded[i] as number) - (values[i] as number)) ** 2;
    square += (values[i] as number) ** 2;
  }
  return Math.sqrt(error / square);
}

function fastest(task: () => void): number {
  let bestMs = Number.POSITIVE_INFINITY;
  for (let repeat = 0; repeat < repeats; repeat++) {
    const startMs = performance.now();
    task();
    bestMs = Math.min(bestMs, performance.now() - startMs);
  }
  return bestMs * 1e6;
}
