/** Numbers of fewer bits, to and from f32. */
import type { ElementType } from "./safetensors.ts";

/** How weights may be stored in a file. */
export type WeightType = Extract<ElementType, "F32" | "BF16" | "F16">;

export function isWeightType(type: ElementType): type is WeightType {
  return type === "F32" || type === "BF16" || type === "F16";
}

/** bfloat16 is the upper half of an f32; rounds to nearest, ties to even. NaN stays NaN. */
export function toBrainFloat(values: Float32Array<ArrayBuffer>): Uint16Array<ArrayBuffer> {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const rounded = new Uint16Array(values.length);
  for (const [index, word] of words.entries())
    rounded[index] =
      (word & magnitude) > infinity ? (word >>> 16) | quiet : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  return rounded;
}

const magnitude = 0x7fff_ffff;
const infinity = 0x7f80_0000;
/** Keeps a NaN whose other bits lie in the lower half from becoming an infinity. */
const quiet = 0x0040;

/** `bytes`: a tensor as it lies in a file, little-endian and aligned. */
export function toFloats(bytes: Uint8Array<ArrayBuffer>, type: WeightType): Float32Array<ArrayBuffer> {
  const { buffer, byteOffset, byteLength } = bytes;
  switch (type) {
    case "F32":
      return new Float32Array(buffer, byteOffset, byteLength / 4);
    case "F16":
      return Float32Array.from(new Float16Array(buffer, byteOffset, byteLength / 2));
    case "BF16": {
      const values = new Float32Array(byteLength / 2);
      const words = new Uint32Array(values.buffer);
      for (const [index, upper] of new Uint16Array(buffer, byteOffset, byteLength / 2).entries())
        words[index] = upper << 16;
      return values;
    }
  }
}
