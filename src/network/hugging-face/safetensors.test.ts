import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { failureOf } from "../../protocol/failure.ts";
import { encodeHeader, headerLength, parseHeader, prefixBytes, type TensorShape, tensorBytes } from "./safetensors.ts";

const tensors: readonly TensorShape[] = [
  { name: "matrix", type: "F32", shape: [3, 2] },
  { name: "half", type: "BF16", shape: [5] },
  { name: "number", type: "F16", shape: [] },
];

const headerOf = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const entry = (dtype: string, shape: unknown, begin: number, end: number) => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});
const refusal = (header: Uint8Array, dataBytes: number) => {
  try {
    parseHeader(header, dataBytes);
    return undefined;
  } catch (error) {
    return failureOf(error);
  }
};

describe("a safetensors header", () => {
  it("comes back as it was written, aligned, with the tensors in order", () => {
    const header = encodeHeader(tensors);
    expect(header.length % 8).toBe(0);
    const length = headerLength(header.subarray(0, prefixBytes), header.length + 36);
    expect(length).toBe(header.length - prefixBytes);
    expect(parseHeader(header.subarray(prefixBytes), 36)).toEqual([
      { ...tensors[0], begin: 0, end: 24 },
      { ...tensors[1], begin: 24, end: 34 },
      { ...tensors[2], begin: 34, end: 36 },
    ]);
    expect(tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), 0)).toBe(36);
  });

  it.each([
    ["that is longer than the file", 1000n],
    ["of more than the format allows", 200_000_000n],
    ["whose length has 64 bits", 2n ** 64n - 1n],
  ])("%s is refused", (_what, length) => {
    const prefix = new Uint8Array(8);
    new DataView(prefix.buffer).setBigUint64(0, length, true);
    const fileBytes = length > 1000n ? 2 ** 40 : 100;
    expect(() => headerLength(prefix, fileBytes)).toThrow(/cannot have/);
    expect(() => headerLength(prefix.subarray(1), 7)).toThrow(/too short/);
  });

  it.each([
    ["that is not JSON", new TextEncoder().encode("{"), "not a JSON object"],
    ["that is not UTF-8", Uint8Array.of(0x22, 0xff, 0x22), "not a JSON object"],
    ["that is a list", headerOf([]), "not a JSON object"],
    ["with a shape of text", headerOf({ a: entry("F32", ["2"], 0, 8) }), "does not describe tensors"],
    ["with a negative shape", headerOf({ a: entry("F32", [-2], 0, 8) }), "does not describe tensors"],
    ["with offsets of halves", headerOf({ a: entry("F32", [2], 0.5, 8.5) }), "does not describe tensors"],
    ["of an unknown type", headerOf({ a: entry("F33", [2], 0, 8) }), "F33"],
    ["of a type that objects have by nature", headerOf({ a: entry("toString", [2], 0, 8) }), "toString"],
    ["of another size than the shape's", headerOf({ a: entry("F32", [3], 0, 8) }), "size of a"],
    ["whose shape overflows", headerOf({ a: entry("F32", [2 ** 52, 2 ** 52, 0, 2 ** 52], 0, 8) }), "size of a"],
    ["whose tensor ends before it begins", headerOf({ a: entry("F32", [2], 8, 0) }), "size of a"],
    ["with an overlap", headerOf({ a: entry("F32", [2], 0, 8), b: entry("F32", [1], 4, 8) }), "overlap before b"],
    ["with a gap", headerOf({ a: entry("F32", [1], 0, 4), b: entry("F32", [0], 8, 8) }), "before b"],
    ["with less than the file has", headerOf({ a: entry("F32", [1], 0, 4) }), "8 bytes of tensors"],
    ["that reaches beyond the file", headerOf({ a: entry("F32", [3], 0, 12) }), "8 bytes of tensors"],
  ])("%s is refused, and says why", (_what, header, why) => {
    expect(refusal(header, 8)).toMatchObject({ code: "file-unreadable", message: expect.stringContaining(why) });
  });

  it("never throws anything else, whatever the bytes are", () => {
    const header = encodeHeader(tensors).subarray(prefixBytes);
    const damage = fc.array(fc.tuple(fc.nat(header.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(damage, fc.nat(64), (changes, dataBytes) => {
        const damaged = Uint8Array.from(header);
        for (const [at, value] of changes) damaged[at] = value;
        const failure = refusal(damaged, dataBytes);
        if (failure === undefined) expect(parseHeader(damaged, dataBytes).at(-1)?.end).toBe(dataBytes);
        else expect(failure.code).toBe("file-unreadable");
      }),
      { numRuns: 2000 },
    );
  });
});
