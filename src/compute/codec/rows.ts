/**
 * Activations, and their gradients, on the way across a stage boundary: rows of channels, one per token.
 *
 * `int8`, `int4` and `int2` rotate a row (`portable/rotation.ts`) and round it to codes with one scale per row. Activations are rounded
 * to the nearest. Gradients have signs that are new for every row, and are shifted by noise that the receiver draws as well and takes
 * away again: so what is lost averages out over tokens.
 */

import { assertNever } from "../../protocol/assert-never.ts";
import type { RowFormat } from "../../protocol/run-config.ts";
import { checkFinite, NonFiniteError } from "../non-finite.ts";
import { type Grid, gridBytes, type Quantiser } from "./grid.ts";
import { kernels } from "./kernels.ts";
import { MalformedPayloadError } from "./malformed.ts";
import { copyFloats, floatBytes, headerBytes, readHeader, writeHeader } from "./payload.ts";

export interface RowsShape {
  readonly rows: number;
  readonly columns: number;
}

export interface EncodeRowsOptions {
  readonly format: RowFormat;
  /** 32-bit seed: rounded by chance behind fresh signs, without bias. Null: to the nearest, signs always the same. */
  readonly noise: number | null;
}

/** The first byte of a payload. */
const formatBytes: Readonly<Record<RowFormat, number>> = { f32: 0, bf16: 1, int8: 2, int4: 3, int2: 4 };
/** Columns, from which on four-bit codes of activations stand for levels. */
const longRow = 128;

const codeBits = { int8: 8, int4: 4, int2: 2 } as const;
const formatsByByte = new Map(Object.entries(formatBytes).map(([format, byte]) => [byte, format as RowFormat]));

/** Bytes of a payload: fixed by format and shape, so that a receiver can check a length before it trusts anything. */
export function rowPayloadBytes(format: RowFormat, { rows, columns }: RowsShape): number {
  const length = rows * columns;
  switch (format) {
    case "f32":
      return headerBytes + 4 * length;
    case "bf16":
      return headerBytes + 2 * length;
    case "int8":
    case "int4":
    case "int2":
      return headerBytes + gridBytes(length, columns, codeBits[format]);
    default:
      return assertNever(format);
  }
}

/**
 * values: [rows, columns]. Throws `NonFiniteError`, in the formats that rotate also where numbers are so large (2⁴⁸) that only a
 * diverged run has them. Rows whose numbers are all below 2⁻⁶⁰ become zeros there.
 */
export function encodeRows(values: Float32Array, shape: RowsShape, { format, noise }: EncodeRowsOptions): Uint8Array {
  if (values.length !== shape.rows * shape.columns)
    throw new RangeError(`${values.length} numbers are not ${shape.rows} × ${shape.columns}`);
  const payload = new Uint8Array(rowPayloadBytes(format, shape));
  const grid = { columns: shape.columns, seed: (noise ?? 0) >>> 0, isFresh: noise !== null };
  writeHeader(payload, { format: formatBytes[format], isFresh: grid.isFresh, parameter: 0, seed: grid.seed });
  if (!encodeBody(payload.subarray(headerBytes), values, grid, format)) throw new NonFiniteError("rows");
  return payload;
}

function encodeBody(body: Uint8Array, values: Float32Array, grid: Grid, format: RowFormat): boolean {
  switch (format) {
    case "f32":
      checkFinite(values, "rows");
      body.set(floatBytes(values));
      return true;
    case "bf16":
      return kernels.encodeBrainFloats(body, values, grid);
    case "int8":
    case "int4":
    case "int2":
      return kernels.encodeGrid(body, values, grid, quantiserOf(format, grid));
    default:
      return assertNever(format);
  }
}

/**
 * What `encodeRows` wrote, into `out`, if given, of `rows` · `columns` numbers: all of them finite. Throws `MalformedPayloadError`
 * unless the payload is exactly as long as its format says for this shape.
 */
export function decodeRows(payload: Uint8Array, shape: RowsShape, out?: Float32Array): Float32Array {
  const format = readRowFormat(payload);
  const { isFresh, seed, parameter } = readHeader(payload);
  if (payload.length !== rowPayloadBytes(format, shape) || parameter !== 0 || (!isFresh && seed !== 0))
    throw new MalformedPayloadError(`${payload.length} bytes are no ${format} of ${shape.rows} × ${shape.columns}`);
  const values = out ?? new Float32Array(shape.rows * shape.columns);
  if (values.length !== shape.rows * shape.columns)
    throw new RangeError(`${values.length} numbers are not ${shape.rows} × ${shape.columns}`);
  if (!decodeBody(values, payload.subarray(headerBytes), { columns: shape.columns, seed, isFresh }, format))
    throw new MalformedPayloadError(`a payload of ${format} that no encoder writes`);
  return values;
}

function decodeBody(values: Float32Array, body: Uint8Array, grid: Grid, format: RowFormat): boolean {
  switch (format) {
    case "f32":
      copyFloats(values, body);
      return true;
    case "bf16":
      return kernels.decodeBrainFloats(values, body);
    case "int8":
    case "int4":
    case "int2":
      return kernels.decodeGrid(values, body, grid, quantiserOf(format, grid));
    default:
      return assertNever(format);
  }
}

/** From the first byte. Throws `MalformedPayloadError`. */
export function readRowFormat(payload: Uint8Array): RowFormat {
  const format = formatsByByte.get(payload[0] ?? -1);
  if (format === undefined) throw new MalformedPayloadError("a payload of an unknown format");
  return format;
}

/**
 * Even steps up to the largest number can be shifted, as gradients need it, and suit short rows with outliers. Of longer rows the
 * rotated numbers are about normal, and levels miss them by less, the more so the longer they are; and of two bits there are few steps.
 */
function quantiserOf(format: "int8" | "int4" | "int2", { columns, isFresh }: Grid): Quantiser {
  switch (format) {
    case "int8":
      return { kind: "uniform", bits: 8 };
    case "int4":
      return { kind: isFresh || columns < longRow ? "uniform" : "levels", bits: 4 };
    case "int2":
      return { kind: isFresh ? "uniform" : "levels", bits: 2 };
    default:
      return assertNever(format);
  }
}
