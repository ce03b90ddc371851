import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Grid, gridBytes, type Quantiser } from "../../src/compute/codec/grid.ts";
import { nativeKernelSets } from "../../src/compute/codec/native.ts";
import { portableKernels } from "../../src/compute/codec/portable/grid.ts";
import { sparseBytes } from "../../src/compute/codec/sparse-layout.ts";

const seed = 20_261_127;
const runs = { seed, numRuns: 100 };

const columns = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(32, 64, 256, 512) },
  { weight: 6, arbitrary: fc.integer({ min: 1, max: 700 }) },
  { weight: 1, arbitrary: fc.constantFrom(4096, 8192) },
);
const word = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const quantisers: readonly Quantiser[] = [
  { kind: "uniform", bits: 8 },
  { kind: "uniform", bits: 4 },
  { kind: "uniform", bits: 2 },
  { kind: "levels", bits: 4 },
  { kind: "levels", bits: 2 },
  { kind: "levels", bits: 1 },
];
const grids = fc.record({ columns, seed: word, isFresh: fc.boolean() });

/** From the hash of Weyl's sequence: so many numbers by fast-check would take minutes. */
function noise(length: number, from: number): Float64Array {
  return Float64Array.from({ length }, (_, index) => {
    const hash = Math.imul((from + index) ^ ((from + index) >>> 15), 0x2c1b3c6d);
    return ((hash ^ (hash >>> 13)) >>> 0) / 2 ** 31 - 1;
  });
}

/** What may lie in a row: plain noise of any size, outliers, numbers at the edges, and what is not finite. */
const valuesOf = (length: number): fc.Arbitrary<Float32Array> => {
  const even = fc
    .tuple(word, fc.integer({ min: -150, max: 60 }))
    .map(([from, exponent]) => Float32Array.from(noise(length, from), (value) => value * 2 ** exponent));
  const heavy = word.map((from) => Float32Array.from(noise(length, from), (value) => value ** 15));
  const equal = fc.float({ noNaN: true, noDefaultInfinity: true }).map((value) => new Float32Array(length).fill(value));
  const peculiar = fc
    .tuple(even, fc.nat(), fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, 3e38, -(2 ** 47), 1e-45, -0))
    .map(([values, place, value]) => values.map((other, i) => (i === place % length ? value : other)));
  return fc.oneof(even, heavy, equal, peculiar);
};

describe.each(nativeKernelSets())("the native codec, %s, and the portable one", (_, native) => {
  it.each(quantisers)("quantise rows to the same bytes, and read them alike: %j", (quantiser) => {
    const cases = grids.chain((grid) =>
      fc
        .integer({ min: 1, max: 3 * grid.columns })
        .chain((length) => fc.tuple(fc.constant<Grid>(grid), valuesOf(length))),
    );
    fc.assert(
      fc.property(cases, ([grid, values]) => {
        const bytes = gridBytes(values.length, grid.columns, quantiser.bits);
        const [expected, body] = [new Uint8Array(bytes), new Uint8Array(bytes)];
        const isSent = portableKernels.encodeGrid(expected, values, grid, quantiser);
        expect(native.encodeGrid(body, values, grid, quantiser)).toBe(isSent);
        if (isSent) expectSame(body, expected);
        const [portableValues, nativeValues] = [new Float32Array(values.length), new Float32Array(values.length)];
        // Also what was left of numbers that are not finite, which is as good as any other bytes.
        const isRead = portableKernels.decodeGrid(portableValues, expected, grid, quantiser);
        expect(native.decodeGrid(nativeValues, expected, grid, quantiser)).toBe(isRead);
        if (isRead) expectSame(nativeValues, portableValues);
      }),
      runs,
    );
  });

  it.each(quantisers)("read arbitrary bytes alike: %j", (quantiser) => {
    const cases = grids.chain((grid) =>
      fc
        .integer({ min: 1, max: 600 })
        .chain((length) =>
          fc.tuple(
            fc.constant<Grid>(grid),
            fc.constant(length),
            bytesOfLength(gridBytes(length, grid.columns, quantiser.bits)),
          ),
        ),
    );
    fc.assert(
      fc.property(cases, ([grid, length, body]) => {
        const [portableValues, nativeValues] = [new Float32Array(length), new Float32Array(length)];
        const isRead = portableKernels.decodeGrid(portableValues, body, grid, quantiser);
        expect(native.decodeGrid(nativeValues, body, grid, quantiser)).toBe(isRead);
        if (isRead) expectSame(nativeValues, portableValues);
      }),
      runs,
    );
  });

  it("round to bfloat16 alike", () => {
    const cases = fc.tuple(grids, fc.integer({ min: 1, max: 600 }).chain(valuesOf));
    fc.assert(
      fc.property(cases, ([grid, values]) => {
        const [expected, body] = [new Uint8Array(2 * values.length), new Uint8Array(2 * values.length)];
        const isSent = portableKernels.encodeBrainFloats(expected, values, grid);
        expect(native.encodeBrainFloats(body, values, grid)).toBe(isSent);
        if (isSent) expectSame(body, expected);
      }),
      runs,
    );
    fc.assert(
      fc.property(fc.nat(99).chain(bytesOfEvenLength), (body) => {
        const [portableValues, nativeValues] = [new Float32Array(body.length / 2), new Float32Array(body.length / 2)];
        const isRead = portableKernels.decodeBrainFloats(portableValues, body);
        expect(native.decodeBrainFloats(nativeValues, body)).toBe(isRead);
        if (isRead) expectSame(nativeValues, portableValues);
      }),
      runs,
    );
  });

  it("keep the same largest numbers of a vector", () => {
    const lengths = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 9000 }));
    const cases = fc.tuple(lengths.chain(valuesOf), fc.integer({ min: 1, max: 2048 }));
    fc.assert(
      fc.property(cases, ([values, kept]) => {
        const { least, most } = sparseBytes(kept, values.length);
        const [expected, body] = [new Uint8Array(most), new Uint8Array(most)];
        const bytes = portableKernels.encodeSparse(expected, values, kept);
        expect(native.encodeSparse(body, values, kept)).toBe(bytes);
        if (bytes === 0) return;
        expect(bytes).toBeGreaterThanOrEqual(least);
        expectSame(body.subarray(0, bytes), expected.subarray(0, bytes));
        const [portableValues, nativeValues] = [new Float32Array(values.length), new Float32Array(values.length)];
        expect(portableKernels.decodeSparse(portableValues, body.subarray(0, bytes), kept)).toBe(true);
        expect(native.decodeSparse(nativeValues, body.subarray(0, bytes), kept)).toBe(true);
        expectSame(nativeValues, portableValues);
      }),
      runs,
    );
  });

  it("read arbitrary sparse bytes alike", () => {
    const cases = fc.tuple(
      fc.integer({ min: 1, max: 6000 }),
      fc.integer({ min: 1, max: 2048 }),
      fc.nat(400).chain(bytesOfLength),
    );
    fc.assert(
      fc.property(cases, ([length, kept, body]) => {
        const [portableValues, nativeValues] = [new Float32Array(length), new Float32Array(length)];
        const isRead = portableKernels.decodeSparse(portableValues, body, kept);
        expect(native.decodeSparse(nativeValues, body, kept)).toBe(isRead);
        if (isRead) expectSame(nativeValues, portableValues);
      }),
      { ...runs, numRuns: 1000 },
    );
  });

  it("refuse a body of another length than its numbers need", () => {
    const quantiser: Quantiser = { kind: "uniform", bits: 8 };
    const grid: Grid = { columns: 8, seed: 0, isFresh: false };
    const values = new Float32Array(8);
    for (const bytes of [0, 9, 11]) {
      expect(() => native.encodeGrid(new Uint8Array(bytes), values, grid, quantiser)).toThrow(RangeError);
      expect(() => native.decodeGrid(values, new Uint8Array(bytes), grid, quantiser)).toThrow(RangeError);
    }
    expect(() => native.encodeBrainFloats(new Uint8Array(15), values, grid)).toThrow(RangeError);
    expect(() => native.decodeBrainFloats(values, new Uint8Array(17))).toThrow(RangeError);
    expect(() => native.encodeSparse(new Uint8Array(4), values, 2048)).toThrow(RangeError);
    expect(() => native.decodeSparse(values, new Uint8Array(9), 5000)).toThrow(RangeError);
    expect(() => native.encodeGrid(new Uint8Array(10), values, { ...grid, columns: 0 }, quantiser)).toThrow(RangeError);
  });
});

/** To the last bit: also the signs of zeros. */
function expectSame(actual: Uint8Array | Float32Array, expected: Uint8Array | Float32Array): void {
  const [actualBytes, expectedBytes] = [actual, expected].map((array) =>
    Buffer.from(array.buffer, array.byteOffset, array.byteLength),
  );
  expect(actualBytes?.equals(expectedBytes ?? Buffer.of())).toBe(true);
}

/** Often with scales that an encoder might have written: otherwise most would be refused at the first. */
function bytesOfLength(length: number): fc.Arbitrary<Uint8Array> {
  return fc
    .tuple(fc.uint8Array({ minLength: length, maxLength: length }), fc.boolean())
    .map(([bytes, isMild]) => (isMild ? bytes.map((byte) => byte & 0x55) : bytes));
}

function bytesOfEvenLength(half: number): fc.Arbitrary<Uint8Array> {
  return bytesOfLength(2 * half);
}
