/** Every codec as one pair of functions, whatever it encodes. */
import { decodeRows, encodeRows, type RowsShape } from "../../../src/compute/codec/rows.ts";
import { decodeVector, encodeVector } from "../../../src/compute/codec/vector.ts";
import { assertNever } from "../../../src/protocol/assert-never.ts";
import type { RowFormat, VectorCodec } from "../../../src/protocol/run-config.ts";

export interface MeasuredCodec {
  readonly name: string;
  /** The mean of what arrives is what was sent. */
  readonly isUnbiased: boolean;
  /** By chance, if it rounds so. */
  encode(values: Float32Array, shape: RowsShape, seed: number): Uint8Array;
  decode(payload: Uint8Array, shape: RowsShape, out: Float32Array): Float32Array;
}

const rowFormats = ["f32", "bf16", "int8", "int4", "int2"] as const satisfies readonly RowFormat[];

const vectorCodecs: readonly VectorCodec[] = [
  { kind: "f32" },
  { kind: "dense", bits: 8 },
  { kind: "dense", bits: 4 },
  { kind: "dense", bits: 2 },
  { kind: "dense", bits: 1 },
  { kind: "top-k", share: 0.1 },
  { kind: "top-k", share: 0.03 },
  { kind: "top-k", share: 0.01 },
];

export const measuredCodecs: readonly MeasuredCodec[] = [
  ...rowFormats.map((format) => rowCodec(format, "forward")),
  ...rowFormats.slice(1).map((format) => rowCodec(format, "backward")),
  ...vectorCodecs.map(vectorCodec),
];

function rowCodec(format: RowFormat, direction: "forward" | "backward"): MeasuredCodec {
  return {
    name: `rows ${format} ${direction}`,
    isUnbiased: direction === "backward",
    encode: (values, shape, seed) =>
      encodeRows(values, shape, { format, noise: direction === "forward" ? null : seed }),
    decode: decodeRows,
  };
}

function vectorCodec(codec: VectorCodec): MeasuredCodec {
  return {
    name: `vector ${nameOf(codec)}`,
    isUnbiased: false,
    encode: (values, _, seed) => encodeVector(values, codec, seed),
    decode: (payload, { rows, columns }, out) => decodeVector(payload, rows * columns, out),
  };
}

function nameOf(codec: VectorCodec): string {
  switch (codec.kind) {
    case "f32":
      return "f32";
    case "dense":
      return `dense ${codec.bits}`;
    case "top-k":
      return `top-k ${codec.share}`;
    default:
      return assertNever(codec);
  }
}
