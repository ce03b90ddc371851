/**
 * The largest numbers of each chunk, in two bits each: SparseLoCo (Sarfi 2025). Each is a sign and one of two levels, the means of the
 * smaller and of the larger ones; the places come as gaps in Rice codes.
 */
import { bitsOf, nearestBrainFloat } from "../brain-float.ts";
import { largestPeak } from "../levels.ts";
import { type SparseLayout, sparseChunk, sparseLayout, sparseLevelBytes } from "../sparse-layout.ts";
import { BitReader, BitWriter } from "./bit-stream.ts";
import { readScale } from "./quantiser.ts";

/** Rounds of Lloyd's algorithm (1982) that place the two levels. */
const levelRounds = 2;
const largestPeakBits = bitsOf(largestPeak);
/** Steps of the search for the smallest number that is kept: bits of the magnitudes, from the highest on. */
const searchBits = [11, 10, 10] as const;

export function encodeSparse(body: Uint8Array, values: Float32Array, kept: number): number {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  let end = 0;
  for (let from = 0; from < values.length; from += sparseChunk) {
    const chunk = values.subarray(from, from + sparseChunk);
    const layout = sparseLayout(kept, chunk.length);
    const places = largestOf(chunk, layout.kept);
    if (places === null) return 0;
    const { low, high, split } = levelsOf(chunk, places);
    view.setUint16(end, low, true);
    view.setUint16(end + 2, high, true);
    const writer = new BitWriter(body, end + sparseLevelBytes);
    let next = 0;
    for (const place of places) {
      const value = chunk[place] as number;
      const gap = place - next;
      writer.writeUnary(gap >>> layout.riceBits);
      writer.write(gap, layout.riceBits);
      writer.write((value < 0 ? 1 : 0) | (Math.abs(value) > split ? 2 : 0), 2);
      next = place + 1;
    }
    end = writer.end;
  }
  return end;
}

export function decodeSparse(values: Float32Array, body: Uint8Array, kept: number): boolean {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  values.fill(0);
  let end = 0;
  for (let from = 0; from < values.length; from += sparseChunk) {
    if (end + sparseLevelBytes > body.length) return false;
    const low = readScale(view.getUint16(end, true));
    const high = readScale(view.getUint16(end + 2, true));
    if (low === null || high === null) return false;
    const chunk = values.subarray(from, from + sparseChunk);
    const reader = new BitReader(body, end + sparseLevelBytes);
    if (!readPlaces(chunk, reader, sparseLayout(kept, chunk.length), [low, -low, high, -high])) return false;
    end = reader.end;
  }
  return end === body.length;
}

function readPlaces(
  chunk: Float32Array,
  reader: BitReader,
  { kept, riceBits }: SparseLayout,
  levels: readonly number[],
): boolean {
  let next = 0;
  for (let i = 0; i < kept; i++) {
    const place = next + reader.readUnary(chunk.length) * 2 ** riceBits + reader.read(riceBits);
    if (place >= chunk.length) return false;
    chunk[place] = levels[reader.read(2)] as number;
    next = place + 1;
  }
  return reader.isPadded();
}

/** Indices, ascending, of the `kept` largest magnitudes, the first ones where some are equal; null where one is not finite. */
function largestOf(chunk: Float32Array, kept: number): Int32Array | null {
  const magnitudes = new Uint32Array(chunk.length);
  magnitudes.set(new Uint32Array(chunk.buffer, chunk.byteOffset, chunk.length));
  for (let i = 0; i < magnitudes.length; i++) {
    const magnitude = (magnitudes[i] as number) & 0x7fffffff;
    if (magnitude > largestPeakBits) return null;
    magnitudes[i] = magnitude;
  }
  const { smallest, larger } = smallestKept(magnitudes, kept);
  const places = new Int32Array(kept);
  let count = 0;
  let equal = kept - larger;
  for (let i = 0; count < kept; i++) {
    const magnitude = magnitudes[i] as number;
    if (magnitude > smallest || (magnitude === smallest && equal-- > 0)) places[count++] = i;
  }
  return places;
}

/** The `kept`-th largest magnitude, by a search on its digits, and how many are larger. */
function smallestKept(magnitudes: Uint32Array, kept: number): { readonly smallest: number; readonly larger: number } {
  let smallest = 0;
  let larger = 0;
  let shift = 31;
  for (const bits of searchBits) {
    const counts = new Uint32Array(2 ** bits);
    const above = shift;
    shift -= bits;
    for (const magnitude of magnitudes)
      if (above === 31 || magnitude >>> above === smallest >>> above) {
        const digit = (magnitude >>> shift) & (2 ** bits - 1);
        counts[digit] = (counts[digit] as number) + 1;
      }
    let digit = 2 ** bits - 1;
    while (larger + (counts[digit] as number) < kept) larger += counts[digit--] as number;
    smallest |= digit << shift;
  }
  return { smallest, larger };
}

/** Two levels as bfloat16 bits; magnitudes above `split` are rounded to the higher. */
function levelsOf(chunk: Float32Array, places: Int32Array) {
  let split = 0;
  for (const place of places) split += Math.abs(chunk[place] as number);
  split /= places.length;
  for (let round = 1; ; round++) {
    let [lowSum, highSum, highCount] = [0, 0, 0];
    for (const place of places) {
      const magnitude = Math.abs(chunk[place] as number);
      if (magnitude > split) {
        highSum += magnitude;
        highCount++;
      } else lowSum += magnitude;
    }
    const low = lowSum / Math.max(1, places.length - highCount);
    const high = highSum / Math.max(1, highCount);
    if (round === levelRounds) return { low: rounded(low), high: rounded(high), split };
    split = (low + high) / 2;
  }
}

function rounded(level: number): number {
  return nearestBrainFloat(bitsOf(level));
}
