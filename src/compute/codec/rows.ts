/** Rows of numbers as they cross a stage boundary: a format byte, flags, a seed, and the numbers. */
import type { RowFormat } from "../../protocol/run-config.ts";

export interface RowShape {
  readonly rows: number;
  readonly columns: number;
}

export class MalformedPayloadError extends Error {
  override readonly name = "MalformedPayloadError";
}

const headerBytes = 8;

/** Bytes of a payload of `rows` × `columns`: fixed by the format, so that a receiver can check a length before it trusts anything. */
export function rowPayloadBytes(_format: RowFormat, { rows, columns }: RowShape): number {
  return headerBytes + 4 * rows * columns;
}

export function encodeRows(
  values: Float32Array,
  shape: RowShape,
  { format }: { readonly format: RowFormat; readonly noise: number | null },
): Uint8Array {
  const payload = new Uint8Array(rowPayloadBytes(format, shape));
  payload.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), headerBytes);
  return payload;
}

export function decodeRows(
  payload: Uint8Array,
  shape: RowShape,
  out: Float32Array = new Float32Array(shape.rows * shape.columns),
): Float32Array {
  if (payload.length !== rowPayloadBytes(readRowFormat(payload), shape))
    throw new MalformedPayloadError("a length that its shape does not have");
  new Uint8Array(out.buffer, out.byteOffset, out.byteLength).set(payload.subarray(headerBytes));
  return out;
}

export function readRowFormat(payload: Uint8Array): RowFormat {
  if (payload[0] !== 0) throw new MalformedPayloadError("an unknown format");
  return "f32";
}
