import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { normalValues } from "../../../test/compute/normal-values.ts";
import { magnitude } from "../../../test/compute/small-model.ts";
import type { VectorCodec } from "../../protocol/run-config.ts";
import { NonFiniteError } from "../non-finite.ts";
import { MalformedPayloadError } from "./malformed.ts";
import { decodeVector, encodeVector, encodeWithFeedback, vectorPayloadBytes } from "./vector.ts";

const seed = 20_261_127;
const compressing: readonly VectorCodec[] = [
  { kind: "dense", bits: 1 },
  { kind: "dense", bits: 2 },
  { kind: "dense", bits: 4 },
  { kind: "dense", bits: 8 },
  { kind: "top-k", share: 0.1 },
  { kind: "top-k", share: 0.01 },
];
const codecs: readonly VectorCodec[] = [{ kind: "f32" }, ...compressing];

function lossOf(values: Float32Array, codec: VectorCodec): number {
  const decoded = decodeVector(encodeVector(values, codec, 5), values.length);
  return magnitude(values.map((value, i) => value - (decoded[i] ?? Number.NaN))) / magnitude(values);
}

const vectors = fc.integer({ min: 1, max: 600 }).chain((length) => {
  const any = fc.float({ noNaN: true, noDefaultInfinity: true, min: -(2 ** 40), max: 2 ** 40 });
  const sparse = fc.oneof({ weight: 9, arbitrary: fc.constantFrom(0, -0) }, { weight: 1, arbitrary: any });
  return fc.array(fc.oneof(any, sparse), { minLength: length, maxLength: length });
});

describe("a vector", () => {
  it("in f32 is its bytes and nothing else", () => {
    const values = normalValues(100, "values");
    expect(encodeVector(values, { kind: "f32" }, 9)).toEqual(new Uint8Array(values.buffer));
    expect(decodeVector(new Uint8Array(values.buffer), 100)).toEqual(values);
  });

  it("that is too short to compress stays as it is", () => {
    for (const codec of codecs)
      for (const length of [0, 1, 31]) {
        const values = normalValues(length, "short");
        expect(encodeVector(values, codec, 9)).toEqual(new Uint8Array(values.buffer));
      }
  });

  it.each([
    [{ kind: "dense", bits: 8 }, 3.9, 0.008],
    [{ kind: "dense", bits: 4 }, 7.8, 0.1],
    [{ kind: "dense", bits: 2 }, 15.5, 0.345],
    [{ kind: "dense", bits: 1 }, 30, 0.605],
    [{ kind: "top-k", share: 0.1 }, 45, 0.76],
    [{ kind: "top-k", share: 0.03 }, 118, 0.9],
    [{ kind: "top-k", share: 0.01 }, 285, 0.96],
  ] as const)("as %j takes a part of its bytes and loses a part of itself: %d, %d", (codec, ratio, loss) => {
    const values = normalValues(100_000, "values", 1e-4);
    expect((4 * values.length) / encodeVector(values, codec, 5).length).toBeGreaterThan(ratio);
    expect(lossOf(values, codec)).toBeLessThan(loss);
  });

  it.each(compressing)("as %j never loses more than itself, whatever it holds", (codec) => {
    fc.assert(
      fc.property(vectors, (numbers) => {
        const values = Float32Array.from(numbers);
        if (magnitude(values) > 1e-6) expect(lossOf(values, codec)).toBeLessThanOrEqual(1);
      }),
      { seed, numRuns: 500 },
    );
  });

  it("as top-k keeps its largest numbers where they are", () => {
    const values = normalValues(4096, "noise", 1e-3);
    const large = [0, 1, 77, 2048, 4000, 4094, 4095];
    for (const place of large) values[place] = place % 2 === 0 ? 3 : -3;
    const decoded = decodeVector(encodeVector(values, { kind: "top-k", share: 7 / 4096 }, 0), 4096);
    decoded.forEach((value, place) => {
      expect(value).toBe(large.includes(place) ? values[place] : 0);
    });
  });

  it("has one payload for each input and seed, the same on all machines", () => {
    const values = normalValues(10_001, "pinned", 0.02);
    const hashes = codecs.map((codec) => {
      const payload = encodeVector(values, codec, 12_345);
      return [JSON.stringify(codec), createHash("sha256").update(payload).digest("hex").slice(0, 16)];
    });
    expect(Object.fromEntries(hashes)).toMatchInlineSnapshot(`
      {
        "{"kind":"dense","bits":1}": "67eb9b00606bee78",
        "{"kind":"dense","bits":2}": "e0ad6f66112a0b1c",
        "{"kind":"dense","bits":4}": "dd9e076ab20bfe3a",
        "{"kind":"dense","bits":8}": "b4d5bbe8b7e0e570",
        "{"kind":"f32"}": "54b3333699b860eb",
        "{"kind":"top-k","share":0.01}": "130480bd8268774a",
        "{"kind":"top-k","share":0.1}": "80519f8432e520f6",
      }
    `);
  });

  it("that is not finite is not sent", () => {
    for (const codec of codecs)
      for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
        const values = new Float32Array(300).fill(1);
        values[299] = value;
        expect(() => encodeVector(values, codec, 0)).toThrow(NonFiniteError);
      }
  });
});

describe("error feedback", () => {
  it.each(codecs)("loses nothing in the long run: %j", (codec) => {
    const length = 700;
    const residual = new Float32Array(length);
    const sent = new Float64Array(length);
    const meant = new Float64Array(length);
    const direction = normalValues(length, "direction");
    let farthest = 0;
    for (let round = 0; round < 400; round++) {
      const values = normalValues(length, `round ${round}`, 0.3).map((value, i) => value + (direction[i] ?? 0));
      const before = Float32Array.from(residual);
      const { payload, decoded } = encodeWithFeedback(values.slice(), residual, codec, round);
      expect(decodeVector(payload, length)).toEqual(decoded);
      values.forEach((value, i) => {
        sent[i] = (sent[i] ?? 0) + (decoded[i] ?? 0);
        meant[i] = (meant[i] ?? 0) + value;
      });
      expect(Math.abs((residual[9] ?? 0) - ((before[9] ?? 0) + (values[9] ?? 0) - (decoded[9] ?? 0)))).toBeLessThan(
        1e-5,
      );
      farthest = Math.max(farthest, magnitude(residual));
    }
    // What is owed stays bounded while what was sent grows: here to 400 times the direction.
    const owed = Math.hypot(...meant.map((value, i) => value - (sent[i] ?? 0)));
    expect(owed).toBeCloseTo(magnitude(residual), 1);
    expect(farthest / Math.hypot(...meant)).toBeLessThan(codec.kind === "top-k" ? 0.5 : 0.01);
  });

  it("leaves the residual as it was where there is nothing to send", () => {
    const residual = new Float32Array(64).fill(2);
    const values = new Float32Array(64).fill(Number.NaN);
    expect(() => encodeWithFeedback(values, residual, { kind: "dense", bits: 2 }, 0)).toThrow(NonFiniteError);
    expect(residual).toEqual(new Float32Array(64).fill(2));
    expect(() => encodeWithFeedback(values, new Float32Array(63), { kind: "f32" }, 0)).toThrow(RangeError);
  });
});

describe("the payload of a vector", () => {
  const lengths = [1, 31, 32, 33, 256, 300, 4096, 5000];

  it.each(codecs)("as %j is as long as announced", (codec) => {
    for (const length of lengths)
      for (const values of [normalValues(length, "any"), new Float32Array(length)]) {
        const { least, most } = vectorPayloadBytes(codec, length);
        const payload = encodeVector(values, codec, 1);
        expect(payload.length).toBeGreaterThanOrEqual(least);
        expect(payload.length).toBeLessThanOrEqual(most);
        expect(decodeVector(payload, length, new Float32Array(length))).toHaveLength(length);
      }
  });

  it.each(codecs)("as %j is refused for a vector of another length, and cut short or drawn out", (codec) => {
    const payload = encodeVector(normalValues(300, "any"), codec, 1);
    for (const length of [0, 1, 200, 500, 100_000, 2 ** 33])
      expect(() => decodeVector(payload, length)).toThrow(MalformedPayloadError);
    for (const bytes of [payload.subarray(0, -1), payload.subarray(0, 5), Uint8Array.of(...payload, 0)])
      expect(() => decodeVector(bytes, 300)).toThrow(MalformedPayloadError);
  });

  it("in f32 with numbers that are not finite is refused", () => {
    const values = new Float32Array(40).fill(Number.NaN, 39);
    expect(() => decodeVector(new Uint8Array(values.buffer), 40)).toThrow(MalformedPayloadError);
  });

  it.each(compressing)("as %j that was tampered with gives finite numbers or is refused", (codec) => {
    const whole = encodeVector(normalValues(5000, "any"), codec, 1);
    const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(changes, fc.nat(3), (bytes, cut) => {
        const payload = whole.slice(0, whole.length - cut);
        for (const [at, byte] of bytes) payload[at % payload.length] = byte;
        try {
          expect(decodeVector(payload, 5000).every(Number.isFinite)).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedPayloadError);
        }
      }),
      { seed, numRuns: 300 },
    );
  });
});
