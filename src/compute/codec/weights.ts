/**
 * Weights as they are, for who has some of before: the bits of neighbouring f32 numbers hardly differ in their upper bytes. Differences
 * of the numbers' order, each byte of them in a plane of its own, compressed by zstd (Collet & Kucherawy 2021, RFC 8878).
 */
import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { MalformedPayloadError } from "./malformed.ts";

/** Parameters that are compressed at once: bounds the memory that it takes, on either side. */
const chunkParameters = 1 << 20;
const planes = 4;
/** Higher levels take longer and save nothing more: what is left looks random. */
const compressionParameters = { [constants.ZSTD_c_compressionLevel]: 1 };
/** 2²³: what a frame of a chunk says that it needs at most. Zstd would otherwise take 128 MiB if a frame says so. */
const decompressionParameters = { [constants.ZSTD_d_windowLogMax]: 23 };

/** `known`: what the receiver has, as long as `current`; null if nothing. One chunk for each started 2²⁰ parameters. */
export function encodeDelta(current: Float32Array, known: Float32Array | null): Uint8Array[] {
  checkLength(known, current.length);
  return chunksOf(current.length).map(({ from, to }) => {
    const bytes = new Uint8Array(planes * (to - from));
    const [now, before] = [orderOf(current.subarray(from, to)), known && orderOf(known.subarray(from, to))];
    const [second, third, fourth] = [now.length, 2 * now.length, 3 * now.length];
    for (let i = 0; i < now.length; i++) {
      const difference = (ordered(now[i] as number) - (before === null ? 0 : ordered(before[i] as number))) | 0;
      const unsigned = (difference << 1) ^ (difference >> 31); // small differences of either sign have empty upper bytes
      bytes[i] = unsigned;
      bytes[second + i] = unsigned >>> 8;
      bytes[third + i] = unsigned >>> 16;
      bytes[fourth + i] = unsigned >>> 24;
    }
    return zstdCompressSync(bytes, { params: compressionParameters });
  });
}

/**
 * The `length` numbers of which `encodeDelta` made the chunks, with the same `known`: all bits alike. Throws `MalformedPayloadError`;
 * who must not trust the sender compares hashes.
 */
export function decodeDelta(chunks: readonly Uint8Array[], known: Float32Array | null, length: number): Float32Array {
  checkLength(known, length);
  const ranges = chunksOf(length);
  if (chunks.length !== ranges.length)
    throw new MalformedPayloadError(`${chunks.length} chunks are not ${ranges.length}`);
  const values = new Float32Array(length);
  ranges.forEach(({ from, to }, index) => {
    const [now, before] = [orderOf(values.subarray(from, to)), known && orderOf(known.subarray(from, to))];
    const bytes = decompressed(chunks[index] as Uint8Array, planes * now.length);
    const [second, third, fourth] = [now.length, 2 * now.length, 3 * now.length];
    for (let i = 0; i < now.length; i++) {
      const lower = (bytes[i] as number) | ((bytes[second + i] as number) << 8);
      const unsigned = lower | ((bytes[third + i] as number) << 16) | ((bytes[fourth + i] as number) << 24);
      const difference = (unsigned >>> 1) ^ -(unsigned & 1);
      now[i] = ordered((difference + (before === null ? 0 : ordered(before[i] as number))) | 0);
    }
  });
  return values;
}

function decompressed(chunk: Uint8Array, length: number): Uint8Array {
  try {
    const bytes = zstdDecompressSync(chunk, { params: decompressionParameters, maxOutputLength: length });
    if (bytes.length === length) return bytes;
  } catch (cause) {
    throw new MalformedPayloadError("a chunk of weights that zstd does not take", { cause });
  }
  throw new MalformedPayloadError(`a chunk of weights that has not ${length} bytes`);
}

function chunksOf(length: number): readonly { readonly from: number; readonly to: number }[] {
  return Array.from({ length: Math.ceil(length / chunkParameters) }, (_, index) => ({
    from: index * chunkParameters,
    to: Math.min(length, (index + 1) * chunkParameters),
  }));
}

function orderOf(values: Float32Array): Int32Array {
  return new Int32Array(values.buffer, values.byteOffset, values.length);
}

/** Bits of an f32 as an integer that grows as the number does; and back, since it is its own inverse. */
function ordered(bits: number): number {
  return bits ^ ((bits >> 31) & 0x7fffffff);
}

function checkLength(known: Float32Array | null, length: number): void {
  if (known !== null && known.length !== length) throw new RangeError(`${known.length} numbers are known of ${length}`);
}
