/** The first eight bytes of every payload but that of a plain f32 vector: format, flags, a number of the format's own, and the seed. */
import { areFinite } from "../non-finite.ts";
import { MalformedPayloadError } from "./malformed.ts";

export const headerBytes = 8;

/** The flag of `Grid.isFresh`; there are no others. */
const freshFlag = 1;

export interface PayloadHeader {
  readonly format: number;
  readonly isFresh: boolean;
  /** 16 bits; 0 where a format has no use for it. */
  readonly parameter: number;
  readonly seed: number;
}

export function writeHeader(payload: Uint8Array, { format, isFresh, parameter, seed }: PayloadHeader): void {
  const view = viewOf(payload);
  view.setUint8(0, format);
  view.setUint8(1, isFresh ? freshFlag : 0);
  view.setUint16(2, parameter, true);
  view.setUint32(4, seed, true);
}

/** Throws `MalformedPayloadError`. */
export function readHeader(payload: Uint8Array): PayloadHeader {
  if (payload.length < headerBytes) throw new MalformedPayloadError(`${payload.length} bytes are no payload`);
  const view = viewOf(payload);
  const flags = view.getUint8(1);
  if (flags > freshFlag) throw new MalformedPayloadError(`a payload with unknown flags ${flags}`);
  return {
    format: view.getUint8(0),
    isFresh: flags === freshFlag,
    parameter: view.getUint16(2, true),
    seed: view.getUint32(4, true),
  };
}

/** The numbers of a plain f32 body, wherever in its buffer it lies. Throws `MalformedPayloadError` where one is not finite. */
export function copyFloats(values: Float32Array, body: Uint8Array): void {
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength).set(body);
  if (!areFinite(values)) throw new MalformedPayloadError("a payload with numbers that are not finite");
}

/** The bytes of f32 numbers, little endian as every processor that we run on. */
export function floatBytes(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

function viewOf(payload: Uint8Array): DataView {
  return new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
}
