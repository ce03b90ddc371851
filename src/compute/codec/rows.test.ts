import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { normalValues } from "../../../test/compute/normal-values.ts";
import { magnitude } from "../../../test/compute/small-model.ts";
import type { RowFormat } from "../../protocol/run-config.ts";
import { NonFiniteError } from "../non-finite.ts";
import { MalformedPayloadError } from "./malformed.ts";
import { decodeRows, encodeRows, type RowsShape, readRowFormat, rowPayloadBytes } from "./rows.ts";

const seed = 20_261_127;
const formats = ["f32", "bf16", "int8", "int4", "int2"] as const satisfies readonly RowFormat[];
const rotating = ["int8", "int4", "int2"] as const;

function difference(a: Float32Array, b: Float32Array): Float32Array {
  return a.map((value, i) => value - (b[i] ?? Number.NaN));
}

function roundTrip(values: Float32Array, format: RowFormat, noise: number | null, shape?: RowsShape): Float32Array {
  const whole = shape ?? { rows: 1, columns: values.length };
  return decodeRows(encodeRows(values, whole, { format, noise }), whole);
}

/**
 * The longest that a row's error can be, by the row's norm: a rotated number is at most as large as that, and is missed by half a
 * step; codes of levels never miss by more than the row itself.
 */
function mostError(format: (typeof rotating)[number], columns: number, isFresh: boolean): number {
  if (!isFresh && (format === "int2" || (format === "int4" && columns >= 128))) return 1;
  const steps = { int8: 127, int4: 7, int2: 1 }[format] + (isFresh ? 0.5 : 0);
  return ((1.01 / steps) * Math.sqrt(columns)) / 2;
}

const rows = fc.integer({ min: 1, max: 200 }).chain((columns) => {
  const any = fc.float({ noNaN: true, noDefaultInfinity: true, min: -(2 ** 40), max: 2 ** 40 });
  const sparse = fc.oneof({ weight: 5, arbitrary: fc.constantFrom(0, -0) }, { weight: 1, arbitrary: any });
  const small = fc.float({ noNaN: true, min: -(2 ** -40), max: 2 ** -40 });
  const length = { minLength: columns, maxLength: columns };
  return fc.oneof(fc.array(any, length), fc.array(sparse, length), fc.array(small, length));
});
const noises = fc.option(fc.integer({ min: 0, max: 2 ** 32 - 1 }));

describe("rows", () => {
  it("cross as they are in f32", () => {
    const values = normalValues(60, "values");
    expect(roundTrip(values, "f32", null, { rows: 5, columns: 12 })).toEqual(values);
    expect(rowPayloadBytes("f32", { rows: 5, columns: 12 })).toBe(8 + 240);
  });

  it("lose no more than the eighth bit in bf16", () => {
    fc.assert(
      fc.property(rows, noises, (row, noise) => {
        const decoded = roundTrip(Float32Array.from(row), "bf16", noise);
        row.forEach((value, i) => {
          const error = Math.abs((decoded[i] ?? Number.NaN) - value);
          expect(error).toBeLessThanOrEqual(2 ** (noise === null ? -8 : -7) * Math.abs(value) + 2 ** -133);
        });
      }),
      { seed, numRuns: 300 },
    );
  });

  it.each(rotating)("lose a bounded part of themselves in %s, whatever they hold", (format) => {
    fc.assert(
      fc.property(rows, noises, (row, noise) => {
        const values = Float32Array.from(row);
        const error = magnitude(difference(roundTrip(values, format, noise), values));
        const most = mostError(format, row.length, noise !== null);
        expect(error).toBeLessThanOrEqual((most + 0.01) * magnitude(values) + 2 ** -60 * row.length);
      }),
      { seed, numRuns: 500 },
    );
  });

  it.each([
    ["bf16", 0.002, 0.003],
    ["int8", 0.008, 0.008],
    ["int4", 0.1, 0.13],
    ["int2", 0.35, 0.62],
  ] as const)(
    "of normal numbers lose in %s what its bits are worth: %d, as gradients %d",
    (format, asActivations, asGradients) => {
      const values = normalValues(64 * 256, "values");
      const shape = { rows: 64, columns: 256 };
      const lossOf = (noise: number | null) =>
        magnitude(difference(roundTrip(values, format, noise, shape), values)) / magnitude(values);
      expect(lossOf(null)).toBeLessThan(asActivations);
      expect(lossOf(7)).toBeLessThan(asGradients);
    },
  );

  it.each(rotating)("of nothing but zeros stay so in %s, among others that do not", (format) => {
    const values = new Float32Array(3 * 40).fill(0.5, 40, 80);
    const decoded = roundTrip(values, format, null, { rows: 3, columns: 40 });
    expect([...decoded.subarray(0, 40), ...decoded.subarray(80)].every((value) => value === 0)).toBe(true);
    expect(magnitude(decoded)).toBeGreaterThan(1);
  });

  it("have one payload for each input, the same on all machines", () => {
    const shape = { rows: 24, columns: 100 };
    const values = normalValues(24 * 100, "pinned", 0.02);
    const hashes = formats.map((format) => {
      const hash = createHash("sha256");
      for (const noise of [null, 12_345]) hash.update(encodeRows(values, shape, { format, noise }));
      return [format, hash.digest("hex").slice(0, 16)];
    });
    expect(Object.fromEntries(hashes)).toMatchInlineSnapshot(`
      {
        "bf16": "b6d32adb9290cb59",
        "f32": "c7d1911efeac4a33",
        "int2": "0caafb0169a9bf3a",
        "int4": "82b5f3ed946edfa4",
        "int8": "d0b76936a1266efa",
      }
    `);
  });

  it("that are not finite, or have diverged, are not sent", () => {
    for (const format of formats)
      for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
        for (const place of [0, 39, 99]) {
          const values = new Float32Array(100).fill(1);
          values[place] = value;
          expect(() => roundTrip(values, format, null)).toThrow(NonFiniteError);
        }
    for (const format of rotating)
      expect(() => roundTrip(new Float32Array(64).fill(3e38), format, 5)).toThrow(NonFiniteError);
  });

  it("of another number than the shape says are a bug", () => {
    expect(() => encodeRows(new Float32Array(5), { rows: 2, columns: 3 }, { format: "f32", noise: null })).toThrow(
      RangeError,
    );
    const payload = encodeRows(new Float32Array(6), { rows: 2, columns: 3 }, { format: "f32", noise: null });
    expect(() => decodeRows(payload, { rows: 2, columns: 3 }, new Float32Array(5))).toThrow(RangeError);
  });
});

describe("gradients", () => {
  const draws = 4000;
  /** Two blocks of a rotation. */
  const columns = 96;

  /** Mean over fresh draws of what arrives, and the standard error of each number's mean. */
  function meanOf(values: Float32Array, format: RowFormat) {
    const sum = new Float64Array(columns);
    const squares = new Float64Array(columns);
    const shape = { rows: 40, columns };
    const repeated = Float32Array.from({ length: 40 * columns }, (_, i) => values[i % columns] ?? Number.NaN);
    for (let draw = 0; draw < draws / 40; draw++)
      roundTrip(repeated, format, draw, shape).forEach((value, i) => {
        sum[i % columns] = (sum[i % columns] ?? 0) + value;
        squares[i % columns] = (squares[i % columns] ?? 0) + value ** 2;
      });
    const mean = Float32Array.from(sum, (value) => value / draws);
    const errors = mean.map((value, i) => Math.sqrt(Math.max(0, (squares[i] ?? 0) / draws - value ** 2) / draws));
    return { mean, errors };
  }

  const examples: readonly (readonly [string, Float32Array])[] = [
    ["normal numbers", normalValues(columns, "gradient", 1e-3)],
    ["an outlier among small ones", normalValues(columns, "small", 1e-5).map((value, i) => (i === 50 ? 1 : value))],
    ["equal numbers", new Float32Array(columns).fill(0.3)],
    ["a few that are not zero", Float32Array.from({ length: columns }, (_, i) => (i % 30 === 0 ? i - 40 : 0))],
  ];

  describe.each(["bf16", ...rotating] as const)("in %s", (format) => {
    it.each(examples)("average to themselves: %s", (_, values) => {
      const { mean, errors } = meanOf(values, format);
      const length = magnitude(values);
      // Five standard errors; and what f32 itself rounds away of sums as long as the row.
      mean.forEach((value, i) => {
        const most = 5 * (errors[i] ?? 0) + 2 ** -20 * length;
        expect(Math.abs(value - (values[i] ?? Number.NaN))).toBeLessThanOrEqual(most);
      });
    });
  });

  it("have new signs in every row and for every seed", () => {
    const row = normalValues(64, "row");
    const twice = Float32Array.from([...row, ...row]);
    const decoded = roundTrip(twice, "int2", 1, { rows: 2, columns: 64 });
    expect(decoded.subarray(0, 64)).not.toEqual(decoded.subarray(64));
    expect(roundTrip(twice, "int2", 2, { rows: 2, columns: 64 })).not.toEqual(decoded);
    const activations = roundTrip(twice, "int2", null, { rows: 2, columns: 64 });
    expect(activations.subarray(0, 64)).toEqual(activations.subarray(64));
  });
});

describe("a payload", () => {
  const shape = { rows: 3, columns: 50 };
  const values = normalValues(150, "payload");

  it.each(formats)("in %s says what it is, and is as long as announced", (format) => {
    for (const noise of [null, 3]) {
      const payload = encodeRows(values, shape, { format, noise });
      expect(readRowFormat(payload)).toBe(format);
      expect(payload.length).toBe(rowPayloadBytes(format, shape));
    }
  });

  it.each(formats)("in %s of any other length is refused", (format) => {
    const payload = encodeRows(values, shape, { format, noise: null });
    for (let length = 0; length < payload.length; length++)
      expect(() => decodeRows(payload.subarray(0, length), shape)).toThrow(MalformedPayloadError);
    expect(() => decodeRows(Uint8Array.of(...payload, 0), shape)).toThrow(MalformedPayloadError);
    expect(() => decodeRows(payload, { rows: 3, columns: 60 })).toThrow(MalformedPayloadError);
  });

  it("can lie anywhere in its buffer", () => {
    for (const format of formats) {
      const payload = encodeRows(values, shape, { format, noise: null });
      const moved = new Uint8Array(payload.length + 3);
      moved.set(payload, 3);
      expect(decodeRows(moved.subarray(3), shape)).toEqual(decodeRows(payload, shape));
    }
  });

  it("with an unknown format, flag or scale is refused", () => {
    const payload = encodeRows(values, shape, { format: "int4", noise: null });
    const changed = (at: number, byte: number) => payload.map((old, i) => (i === at ? byte : old));
    expect(() => decodeRows(changed(0, 9), shape)).toThrow(MalformedPayloadError);
    expect(() => readRowFormat(new Uint8Array())).toThrow(MalformedPayloadError);
    for (const at of [1, 2, 3, 4]) expect(() => decodeRows(changed(at, 2), shape)).toThrow(MalformedPayloadError);
    for (const high of [0x7f, 0x80, 0xff, 0x59])
      expect(() => decodeRows(changed(9, high), shape)).toThrow(MalformedPayloadError);
  });

  it.each(formats)("in %s that was tampered with gives finite numbers or is refused", (format) => {
    const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 6 });
    fc.assert(
      fc.property(changes, noises, (bytes, noise) => {
        const payload = encodeRows(values, shape, { format, noise });
        for (const [at, byte] of bytes) payload[at % payload.length] = byte;
        try {
          expect(decodeRows(payload, shape).every(Number.isFinite)).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedPayloadError);
        }
      }),
      { seed, numRuns: 500 },
    );
  });
});
