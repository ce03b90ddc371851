/** What crosses a stage boundary, for tests that look at the numbers in it. */
import { encodeRows } from "../../src/compute/codec/rows.ts";

/** Sends gradients and activations as they are. */
export const asTheyAre = { format: "f32", noise: 0 } as const;

/** A payload that holds exactly these numbers, in rows of so many columns. */
export function payloadOf(values: Float32Array, columns: number): Uint8Array {
  return encodeRows(values, { rows: values.length / columns, columns }, { format: "f32", noise: null });
}

/** As `payloadOf`, but that its last number is none: as no encoder writes it. */
export function brokenPayloadOf(values: Float32Array, columns: number): Uint8Array {
  const payload = payloadOf(values, columns);
  new DataView(payload.buffer).setFloat32(payload.length - 4, Number.NaN, true);
  return payload;
}
