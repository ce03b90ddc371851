/**
 * Randomness as a function of a key and a counter: Threefry-2x32 with 20 rounds (Salmon et al. 2011, "Parallel random
 * numbers: as easy as 1, 2, 3"). No state, so any machine can draw the n-th number of any stream on its own.
 */

/** Two 32-bit words. */
export type Key = readonly [number, number];

const ROTATIONS = [13, 15, 26, 6, 17, 29, 16, 24] as const;
/** The key schedule's parity constant, C₂₄₀ of the Threefish cipher folded to 32 bits. */
const PARITY = 0x1bd11bda;

/** The stream called `name` under `seed`, a non-negative integer. */
export function streamKey(seed: number, name: string): Key {
  return [seed >>> 0, fnv1a(name) ^ Math.floor(seed / 2 ** 32)];
}

export interface Words {
  first: number;
  second: number;
}

/** Enciphers the counter (`high`, `low`) into `out`, uniform over all pairs of signed 32-bit integers. */
export function threefry(out: Words, key: Key, high: number, low: number): void {
  let a = (high + key[0]) | 0;
  let b = (low + key[1]) | 0;
  for (let round = 0; round < 20; round++) {
    const rotation = ROTATIONS[round & 7] as number;
    a = (a + b) | 0;
    b = ((b << rotation) | (b >>> (32 - rotation))) ^ a;
    if ((round & 3) === 3) {
      const injection = (round >> 2) + 1;
      a = (a + scheduled(key, injection % 3)) | 0;
      b = (b + scheduled(key, (injection + 1) % 3) + injection) | 0;
    }
  }
  out.first = a;
  out.second = b;
}

/** Word `index` of the key schedule. (An array of them per number would be garbage many times the size of the numbers.) */
function scheduled(key: Key, index: number): number {
  if (index === 2) return PARITY ^ key[0] ^ key[1];
  return index === 0 ? key[0] : key[1];
}

/** Uniform in [0, 1) with 53 random bits: the number at (`high`, `low`) of the stream. */
export function uniform(key: Key, high: number, low: number): number {
  const words: Words = { first: 0, second: 0 };
  threefry(words, key, high, low);
  return ((words.first >>> 5) * 2 ** 26 + (words.second >>> 6)) * 2 ** -53;
}

/**
 * Fills `out` with independent normal numbers, mean 0, by the transform of Box & Muller 1958: those of the stream from `first`
 * on, which is even, since they are drawn in pairs.
 */
export function fillNormal(out: Float32Array, key: Key, deviation: number, first = 0): void {
  const words: Words = { first: 0, second: 0 };
  for (let i = 0; i < out.length; i += 2) {
    const pair = (first + i) / 2;
    threefry(words, key, Math.floor(pair / 2 ** 32), pair >>> 0);
    const radius = deviation * Math.sqrt(-2 * Math.log(((words.first >>> 0) + 1) * 2 ** -32));
    const angle = 2 * Math.PI * (words.second >>> 0) * 2 ** -32;
    out[i] = radius * Math.cos(angle);
    if (i + 1 < out.length) out[i + 1] = radius * Math.sin(angle);
  }
}

/** Hash of a name, 32 bits: FNV-1a (Fowler, Noll & Vo). */
function fnv1a(name: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash;
}
