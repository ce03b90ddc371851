/**
 * Random bits of the codec, as a function of a 32-bit key and a counter. Statistical quality is all that is asked of them: the sender
 * of a payload chooses its seed, and nobody gains by guessing it. `random.ts` has better ones at ten times the price.
 */

/** Weyl's increment: the golden ratio in 32 bits. */
const goldenRatio = 0x9e3779b9;
/** Counter of what is drawn next to the noise of elements 0, 1, 2 … */
const signCounter = 0x80000000;

/** A bijection on 32 bits in which each bit depends on all: the best of two multiplications that C. Wellons' hash-prospector found. */
function mixed(value: number): number {
  let bits = value;
  bits = Math.imul(bits ^ (bits >>> 16), 0x21f0aaad);
  bits = Math.imul(bits ^ (bits >>> 15), 0xd35a2d97);
  return bits ^ (bits >>> 15);
}

export function rowKey(seed: number, row: number): number {
  return mixed((seed + Math.imul(row + 1, goldenRatio)) | 0);
}

/** 32 random bits for one element of a row. */
export function elementNoise(key: number, element: number): number {
  return mixed((key + element) | 0);
}

/** Of the numbers in [0, 1) by which roundings are shifted. */
export const ditherBits = 14;

/** What is added to an element before it is rounded down, as an integer of `ditherBits`. */
export function ditherOf(key: number, element: number): number {
  return elementNoise(key, element) >>> (32 - ditherBits);
}

/** The signs of elements 32 · `word` … 32 · `word` + 31, from the lowest bit on; a set bit stands for −1. */
export function signWord(key: number, word: number): number {
  return mixed((key + signCounter + word) | 0);
}
