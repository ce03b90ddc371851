import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { toBrainFloat, toFloats } from "./elements.ts";

const bytesOf = (values: Uint16Array<ArrayBuffer> | Float32Array<ArrayBuffer>) => new Uint8Array(values.buffer);
const throughBrainFloat = (...values: number[]) => [
  ...toFloats(bytesOf(toBrainFloat(Float32Array.of(...values))), "BF16"),
];

describe("numbers of fewer bits", () => {
  it("keep in bfloat16 what has eight significant bits, and infinities, zeros and NaN", () => {
    const kept = [0, -0, 1, -1.5, 255, 2 ** -126, -(2 ** 127), Number.POSITIVE_INFINITY, Number.NaN];
    expect(throughBrainFloat(...kept)).toEqual(kept);
  });

  it("are rounded to the nearest, ties to even", () => {
    const step = 2 ** -7;
    const values = [1 + step / 2, 1 + (3 * step) / 2, 1 + step * 0.51, 1 + step * 0.49, 3.4e38];
    expect(throughBrainFloat(...values)).toEqual([1, 1 + 2 * step, 1 + step, 1, Number.POSITIVE_INFINITY]);
  });

  it("lose at most one part in 256", () => {
    fc.assert(
      fc.property(fc.float({ min: Math.fround(1e-30), max: Math.fround(1e30), noNaN: true }), (value) => {
        const [back = Number.NaN] = throughBrainFloat(value);
        expect(Math.abs(back / value - 1)).toBeLessThanOrEqual(2 ** -8);
      }),
    );
  });

  it("are read from f16 and f32 as they are", () => {
    expect([...toFloats(bytesOf(Uint16Array.of(0x3c00, 0xc000, 0x0001, 0x7c00)), "F16")]).toEqual([
      1,
      -2,
      2 ** -24,
      Number.POSITIVE_INFINITY,
    ]);
    expect([...toFloats(bytesOf(Float32Array.of(1, 0.1)), "F32")]).toEqual([1, Math.fround(0.1)]);
  });
});
