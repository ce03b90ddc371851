/**
 * What an optimizer remembers, for a replica that joins: one byte per number instead of four. A moment's numbers differ by many powers
 * of two, and what is small counts as much as what is large, since steps are their quotients: so a code is a short floating-point
 * number, relative to the largest of its block (blocks as in Dettmers 2022, "8-bit optimizers via block-wise quantization", §2.1; codes
 * as an FP8 format's, Micikevicius 2022). What comes back is within a sixteenth of what it was, over 15 powers of two for the first
 * moment and 31 for the second, which is a square.
 *
 * The outer momentum is never rounded: all replicas have the same, and go on having it.
 */
import { checkFinite } from "../non-finite.ts";
import { MalformedPayloadError } from "./malformed.ts";
import { copyFloats, floatBytes, headerBytes, readHeader, writeHeader } from "./payload.ts";

/** All of one length: the stage's parameters. */
export interface Moments {
  readonly first: Float32Array;
  /** Nowhere negative. */
  readonly second: Float32Array;
  /** Null in runs that have none. */
  readonly outer: Float32Array | null;
  /** Optimizer steps taken. */
  readonly steps: number;
}

/** The first byte of such a payload; those of rows and vectors are lower. */
const format = 0x30;
/** Numbers that share a scale. */
const blockLength = 256;
/** What is left of an f32's mantissa of 23 bits. */
const mantissaBits = 3;
const droppedBits = 23 - mantissaBits;
/** The upper bits of the f32 number 1. */
const codeOfOne = 127 << mantissaBits;
/** The code of a block's largest magnitude: seven bits and a sign, or eight bits. */
const largestCode = { signed: 127, unsigned: 255 } as const;
const signBit = 0x80;

export function momentsBytes(parameters: number, hasOuter: boolean): number {
  return headerBytes + (hasOuter ? 4 * parameters : 0) + 2 * (4 * blocksOf(parameters) + parameters);
}

/** Throws `NonFiniteError`. */
export function encodeMoments({ first, second, outer, steps }: Moments): Uint8Array {
  const payload = new Uint8Array(momentsBytes(first.length, outer !== null));
  writeHeader(payload, { format, isFresh: false, parameter: outer === null ? 0 : 1, seed: steps });
  const parts = partsOf(payload, first.length, outer !== null);
  if (outer !== null) {
    checkFinite(outer, "outer momentum");
    parts.outer.set(floatBytes(outer));
  }
  encode(first, "signed", parts.firstScales, parts.firstCodes);
  encode(second, "unsigned", parts.secondScales, parts.secondCodes);
  return payload;
}

/** Throws `MalformedPayloadError`, before it allocates anything, unless the payload has the length for as many parameters. */
export function decodeMoments(payload: Uint8Array, parameters: number, hasOuter: boolean): Moments {
  const header = readHeader(payload);
  if (header.format !== format || header.isFresh || header.parameter !== (hasOuter ? 1 : 0))
    throw new MalformedPayloadError("a payload that holds no such moments");
  if (payload.length !== momentsBytes(parameters, hasOuter))
    throw new MalformedPayloadError(`${payload.length} bytes for the moments of ${parameters} parameters`);
  const parts = partsOf(payload, parameters, hasOuter);
  const outer = hasOuter ? new Float32Array(parameters) : null;
  if (outer !== null) copyFloats(outer, parts.outer);
  return {
    first: decode("signed", parts.firstScales, parts.firstCodes),
    second: decode("unsigned", parts.secondScales, parts.secondCodes),
    outer,
    steps: header.seed,
  };
}

/** Views of the payload, in the order in which they lie there. */
function partsOf(payload: Uint8Array, parameters: number, hasOuter: boolean) {
  let from = headerBytes;
  const next = (bytes: number) => {
    from += bytes;
    return payload.subarray(from - bytes, from);
  };
  const scales = 4 * blocksOf(parameters);
  return {
    outer: next(hasOuter ? 4 * parameters : 0),
    firstScales: next(scales),
    secondScales: next(scales),
    firstCodes: next(parameters),
    secondCodes: next(parameters),
  };
}

/** Rounds to the nearest code; what is too small for any becomes zero, or, of an unsigned moment, the smallest: it is divided by. */
function encode(values: Float32Array, kind: keyof typeof largestCode, scaleBytes: Uint8Array, codes: Uint8Array): void {
  checkFinite(values, kind === "signed" ? "first moment" : "second moment");
  const scales = new Float32Array(blocksOf(values.length));
  const isSigned = kind === "signed";
  const largest = largestCode[kind];
  const smallest = isSigned ? 0 : 1;
  const ratio = new Float32Array(1);
  const bits = new Uint32Array(ratio.buffer);
  for (let block = 0; block < scales.length; block++) {
    const from = block * blockLength;
    const to = Math.min(values.length, from + blockLength);
    let scale = 0;
    for (let i = from; i < to; i++) scale = Math.max(scale, Math.abs(values[i] as number));
    scales[block] = scale;
    if (scale === 0) continue;
    for (let i = from; i < to; i++) {
      const value = values[i] as number;
      if (value === 0) continue;
      ratio[0] = Math.abs(value) / scale;
      const rounded = ((bits[0] as number) + (1 << (droppedBits - 1))) >>> droppedBits;
      const code = Math.max(smallest, rounded - codeOfOne + largest);
      codes[i] = isSigned && value < 0 && code > 0 ? code | signBit : code;
    }
  }
  scaleBytes.set(floatBytes(scales));
}

function decode(kind: keyof typeof largestCode, scaleBytes: Uint8Array, codes: Uint8Array): Float32Array {
  const scales = new Float32Array(blocksOf(codes.length));
  copyFloats(scales, scaleBytes);
  if (scales.some((scale) => scale < 0)) throw new MalformedPayloadError("moments with a negative scale");
  const ratios = ratiosOf(kind);
  const values = new Float32Array(codes.length);
  for (let block = 0; block < scales.length; block++) {
    const from = block * blockLength;
    const scale = scales[block] as number;
    const to = Math.min(codes.length, from + blockLength);
    for (let i = from; i < to; i++) values[i] = scale * (ratios[codes[i] as number] as number);
  }
  return values;
}

/** What each byte stands for, in units of its block's scale. */
function ratiosOf(kind: keyof typeof largestCode): Float32Array {
  const largest = largestCode[kind];
  const ratios = new Float32Array(256);
  const bits = new Uint32Array(ratios.buffer);
  for (let code = 1; code <= largest; code++) bits[code] = (code - largest + codeOfOne) << droppedBits;
  if (kind === "signed") for (let code = 1; code <= largest; code++) ratios[code | signBit] = -(ratios[code] as number);
  return ratios;
}

function blocksOf(length: number): number {
  return Math.ceil(length / blockLength);
}
