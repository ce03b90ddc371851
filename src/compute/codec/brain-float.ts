/**
 * bfloat16: the upper half of an f32's bits (Kalamkar 2019). All functions take and give bits, so that both implementations of the
 * codec round alike.
 */

/** The largest finite number. */
const largestBits = 0x7f7f;

const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);

export function bitsOf(value: number): number {
  scratch[0] = value;
  return scratchBits[0] as number;
}

export function floatOf(bits: number): number {
  scratchBits[0] = bits;
  return scratch[0] as number;
}

/** The f32 that a bfloat16 stands for. */
export function fromBrainFloat(bits: number): number {
  return floatOf(bits << 16);
}

/** The nearest, to even in the middle; what is finite stays finite. */
export function nearestBrainFloat(bits: number): number {
  return rounded(bits, 0x7fff + ((bits >>> 16) & 1));
}

/** The next one away from zero. */
export function brainFloatAbove(bits: number): number {
  return rounded(bits, 0xffff);
}

/** Up or down by chance, so that the mean is the number itself: `random` is uniform over 16 bits. */
export function randomBrainFloat(bits: number, random: number): number {
  return rounded(bits, random);
}

function rounded(bits: number, addend: number): number {
  const magnitude = ((bits & 0x7fffffff) + addend) >>> 16;
  return ((bits >>> 16) & 0x8000) | Math.min(magnitude, largestBits);
}
