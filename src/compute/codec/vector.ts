/**
 * Slices of a stage's vector of parameters on their way between replicas. Runs on the processor, to the same bits on every machine:
 * who decodes or encodes the same gets the same hash.
 */
import { assertNever } from "../../protocol/assert-never.ts";
import type { VectorCodec } from "../../protocol/run-config.ts";
import { checkFinite, NonFiniteError } from "../non-finite.ts";
import { type Grid, gridBytes, type Quantiser } from "./grid.ts";
import { kernels } from "./kernels.ts";
import { MalformedPayloadError } from "./malformed.ts";
import { copyFloats, floatBytes, headerBytes, readHeader, writeHeader } from "./payload.ts";
import { sparseBytes, sparseChunk } from "./sparse-layout.ts";

/** Numbers of a dense vector that share signs, a rotation and a scale. */
const denseChunk = 256;
/** Shorter vectors are sent as they are: headers would outweigh what is saved, and by its length alone a payload tells which it is. */
const shortestCompressed = 32;

/** The first byte of a compressed payload; those of rows (`rows.ts`) are lower. */
const denseFormats = { 1: 0x11, 2: 0x12, 4: 0x14, 8: 0x18 } as const;
const topKFormat = 0x20;

/** Bytes that a payload can have. All have their own length but those of `top-k`. */
export function vectorPayloadBytes(
  codec: VectorCodec,
  length: number,
): { readonly least: number; readonly most: number } {
  if (codec.kind === "f32" || length < shortestCompressed) return { least: 4 * length, most: 4 * length };
  if (codec.kind === "dense") {
    const bytes = headerBytes + gridBytes(length, denseChunk, codec.bits);
    return { least: bytes, most: bytes };
  }
  const { least, most } = sparseBytes(keptOf(codec.share), length);
  return { least: headerBytes + least, most: headerBytes + most };
}

/**
 * `f32`, or fewer than 32 numbers: their bytes. Otherwise compressed, with the signs of `seed` (32 bits); without error feedback.
 * Throws `NonFiniteError`, when compressing also for numbers so large (2⁴⁸) that only a diverged run has them.
 */
export function encodeVector(values: Float32Array, codec: VectorCodec, seed: number): Uint8Array {
  if (codec.kind === "f32" || values.length < shortestCompressed) {
    checkFinite(values, "vector");
    return floatBytes(values).slice();
  }
  const payload = new Uint8Array(vectorPayloadBytes(codec, values.length).most);
  const body = payload.subarray(headerBytes);
  switch (codec.kind) {
    case "dense": {
      writeHeader(payload, { format: denseFormats[codec.bits], isFresh: false, parameter: 0, seed: seed >>> 0 });
      if (!kernels.encodeGrid(body, values, denseGrid(seed), denseQuantiser(codec.bits))) throw notFinite();
      return payload;
    }
    case "top-k": {
      const kept = keptOf(codec.share);
      writeHeader(payload, { format: topKFormat, isFresh: false, parameter: kept, seed: 0 });
      const bytes = kernels.encodeSparse(body, values, kept);
      if (bytes === 0) throw notFinite();
      return payload.slice(0, headerBytes + bytes);
    }
    default:
      return assertNever(codec);
  }
}

/**
 * The `length` numbers of a payload of any codec, into `out` if it is given: all of them finite. Throws `MalformedPayloadError`.
 */
export function decodeVector(payload: Uint8Array, length: number, out?: Float32Array): Float32Array {
  const decode = decoderOf(payload, length);
  const values = out ?? new Float32Array(length);
  if (values.length !== length) throw new RangeError(`${values.length} numbers are not ${length}`);
  decode(values);
  return values;
}

/** What writes the numbers of a payload that has the right length for them. */
function decoderOf(payload: Uint8Array, length: number): (values: Float32Array) => void {
  if (payload.length === 4 * length) return (values) => copyFloats(values, payload);
  const { format, parameter, seed, isFresh } = readHeader(payload);
  const body = payload.subarray(headerBytes);
  const isSure = (isDecoded: boolean) => {
    if (!isDecoded) throw new MalformedPayloadError("a vector that no encoder writes");
  };
  if (length < shortestCompressed || isFresh) throw mismatch(payload, length);
  if (format === topKFormat) {
    if (parameter < 1 || parameter > sparseChunk / 2 || seed !== 0) throw mismatch(payload, length);
    const { least, most } = sparseBytes(parameter, length);
    if (body.length < least || body.length > most) throw mismatch(payload, length);
    return (values) => isSure(kernels.decodeSparse(values, body, parameter));
  }
  const bits = denseBits.find((bits) => denseFormats[bits] === format);
  if (bits === undefined || parameter !== 0 || body.length !== gridBytes(length, denseChunk, bits))
    throw mismatch(payload, length);
  return (values) => isSure(kernels.decodeGrid(values, body, denseGrid(seed), denseQuantiser(bits)));
}

/**
 * Error feedback (Seide 2014; Karimireddy 2019, alg. 2): encodes values + residual, and keeps in `residual`, which is changed in place,
 * what of that was rounded away. `values` are overwritten. `decoded`, into which it is written if given, is what the receiver gets.
 * Throws as `encodeVector`, with the residual as it was.
 */
export function encodeWithFeedback(
  values: Float32Array,
  residual: Float32Array,
  codec: VectorCodec,
  seed: number,
  decoded: Float32Array = new Float32Array(values.length),
): { readonly payload: Uint8Array; readonly decoded: Float32Array } {
  if (residual.length !== values.length) throw new RangeError(`a residual of ${residual.length} for ${values.length}`);
  kernels.add(values, residual);
  const payload = encodeVector(values, codec, seed);
  decodeVector(payload, values.length, decoded);
  residual.set(values);
  kernels.subtract(residual, decoded);
  return { payload, decoded };
}

const denseBits = [1, 2, 4, 8] as const;

function denseQuantiser(bits: (typeof denseBits)[number]): Quantiser {
  return bits === 8 ? { kind: "uniform", bits } : { kind: "levels", bits };
}

function denseGrid(seed: number): Grid {
  return { columns: denseChunk, seed: seed >>> 0, isFresh: false };
}

/** Of a whole chunk. */
function keptOf(share: number): number {
  return Math.ceil(share * sparseChunk);
}

function notFinite(): NonFiniteError {
  return new NonFiniteError("vector");
}

function mismatch(payload: Uint8Array, length: number): MalformedPayloadError {
  return new MalformedPayloadError(`${payload.length} bytes are no vector of ${length}`);
}
