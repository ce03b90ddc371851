/** How many numbers of a chunk of a top-k vector are kept, and how their places are written down. */

export const sparseChunk = 4096;
/** Two levels of a chunk, as bfloat16. */
export const sparseLevelBytes = 4;
/** Which of the two levels, and its sign. */
export const sparseValueBits = 2;

export interface SparseLayout {
  readonly kept: number;
  /** Low bits of a gap between two places that are written as they are; the rest of it in unary: a Rice code (Rice 1979). */
  readonly riceBits: number;
}

/** Of a chunk of `length`, where a whole one keeps `kept`. */
export function sparseLayout(kept: number, length: number): SparseLayout {
  const share = Math.ceil((kept * length) / sparseChunk);
  let riceBits = 0;
  // The code is shortest where 2^riceBits is about 0.7 of the mean gap.
  while (2 ** (riceBits + 1) * share * 10 <= 7 * (length - share)) riceBits++;
  return { kept: share, riceBits };
}

/** Of the body of a vector: a gap's unary part depends on where the numbers lie. */
export function sparseBytes(kept: number, length: number): { readonly least: number; readonly most: number } {
  const whole = chunkBytes(kept, sparseChunk);
  const rest = chunkBytes(kept, length % sparseChunk);
  const chunks = Math.floor(length / sparseChunk);
  return { least: chunks * whole.least + rest.least, most: chunks * whole.most + rest.most };
}

function chunkBytes(keptOfWhole: number, length: number): { readonly least: number; readonly most: number } {
  if (length === 0) return { least: 0, most: 0 };
  const { kept, riceBits } = sparseLayout(keptOfWhole, length);
  const bits = kept * (riceBits + 1 + sparseValueBits);
  const unary = Math.floor((length - kept) / 2 ** riceBits);
  return { least: sparseLevelBytes + Math.ceil(bits / 8), most: sparseLevelBytes + Math.ceil((bits + unary) / 8) };
}
