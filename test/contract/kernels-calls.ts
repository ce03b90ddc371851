/** How the table of `kernels-cases.ts` describes calls of kernels. */
import fc from "fast-check";
import type { Kernels, Slice } from "../../src/compute/kernels.ts";
import { type Key, streamKey, uniform } from "../../src/compute/random.ts";

/** One call of a kernel on concrete values. */
export interface KernelCall {
  readonly operands: Readonly<Record<string, Float64Array | Int32Array>>;
  run(kernels: Kernels, slices: Readonly<Record<string, Slice>>): void;
  /** The operands that the kernel writes, as they must be afterwards. Slow for large shapes. */
  expected(): Readonly<Record<string, Float64Array>>;
}

export interface KernelCase {
  readonly name: string;
  /** Calls small enough for the formulas and their difference quotients. */
  readonly small: fc.Arbitrary<KernelCall>;
  /** Calls with several tiles, blocks and tails, to compare back ends with each other. */
  readonly large: fc.Arbitrary<KernelCall>;
  /** A call that is worth sharing among threads. */
  threaded(): KernelCall;
}

/** A call whose slices and results are named after its operands. */
export function kernelCall<Operand extends string>(call: {
  readonly operands: Readonly<Record<Operand, Float64Array | Int32Array>>;
  run(kernels: Kernels, slices: Readonly<Record<Operand, Slice>>): void;
  expected(): Readonly<Partial<Record<Operand, Float64Array>>>;
}): KernelCall {
  return call as KernelCall;
}

/** Fills arrays from a seed: numbers that float32 holds exactly, so that every device starts from the same ones. */
export class RandomValues {
  readonly #key: Key;
  #drawn = 0;

  constructor(seed: number) {
    this.#key = streamKey(seed, "kernel operands");
  }

  reals(length: number, lowest = -1.5, highest = 1.5): Float64Array {
    return Float64Array.from({ length }, () => Math.fround(lowest + (highest - lowest) * this.#next()));
  }

  tokens(length: number, vocabulary: number): Int32Array {
    return Int32Array.from({ length }, () => Math.floor(vocabulary * this.#next()));
  }

  #next(): number {
    return uniform(this.#key, 0, this.#drawn++);
  }
}

type Sizes<Shape> = { readonly [Dimension in keyof Shape]: fc.Arbitrary<Shape[Dimension]> };

/** Makes the calls of one kernel from its shapes. */
export function kernelCase<Shape>(
  name: string,
  shapes: { readonly small: Sizes<Shape>; readonly large: Sizes<Shape>; readonly threaded: Shape },
  build: (shape: Shape, random: RandomValues) => KernelCall,
): KernelCase {
  const call = (shape: Shape, seed: number): KernelCall =>
    Object.assign(build(shape, new RandomValues(seed)), {
      // What fast-check prints when the call fails.
      [fc.toStringMethod]: () => `${name} ${JSON.stringify(shape)}, operands from seed ${seed}`,
    });
  const calls = (sizes: Sizes<Shape>) => fc.tuple(fc.record(sizes), fc.nat()).map(([shape, seed]) => call(shape, seed));
  return { name, small: calls(shapes.small), large: calls(shapes.large), threaded: () => call(shapes.threaded, 1) };
}
