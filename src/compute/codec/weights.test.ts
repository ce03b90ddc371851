import { zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fillNormal, streamKey } from "../random.ts";
import { MalformedPayloadError } from "./malformed.ts";
import { decodeDelta, encodeDelta } from "./weights.ts";

const seed = 20_261_127;

function normal(length: number, name: string, deviation: number): Float32Array {
  const values = new Float32Array(length);
  fillNormal(values, streamKey(seed, name), deviation);
  return values;
}

function bytesOf(chunks: readonly Uint8Array[]): number {
  return chunks.reduce((sum, { length }) => sum + length, 0);
}

function bitsOf(values: Float32Array): readonly number[] {
  return [...new Uint32Array(values.buffer)];
}

describe("weights", () => {
  it("arrive to the last bit, whatever they are and were", () => {
    const vectors = fc.uint32Array({ maxLength: 60 }).map((bits) => new Float32Array(bits.buffer));
    fc.assert(
      fc.property(vectors, vectors, fc.boolean(), (current, other, isKnown) => {
        const known = isKnown ? current.map((value, i) => other[i] ?? value) : null;
        const arrived = decodeDelta(encodeDelta(current, known), known, current.length);
        expect(bitsOf(arrived)).toEqual(bitsOf(current));
      }),
      { seed, numRuns: 300 },
    );
  });

  it("are sent in chunks, and are the smaller the less has changed", () => {
    const length = (1 << 20) + 1000;
    const known = normal(length, "known", 0.02);
    const drift = normal(length, "drift", 1e-5);
    const current = known.map((value, i) => value + (drift[i] ?? 0));
    const chunks = encodeDelta(current, known);
    expect(chunks).toHaveLength(2);
    expect(decodeDelta(chunks, known, length)).toEqual(current);
    expect(bytesOf(chunks) / bytesOf(encodeDelta(current, null))).toBeLessThan(0.8);
    expect(bytesOf(encodeDelta(current, current))).toBeLessThan(length / 1000);
  });

  it("of another length than what is known are a bug", () => {
    expect(() => encodeDelta(new Float32Array(3), new Float32Array(4))).toThrow(RangeError);
    expect(() => decodeDelta([], new Float32Array(4), 3)).toThrow(RangeError);
  });
});

describe("chunks of weights", () => {
  const current = normal(1000, "current", 1);
  const [chunk = new Uint8Array()] = encodeDelta(current, null);

  it("of another number or length than announced are refused", () => {
    for (const chunks of [[], [chunk, chunk]])
      expect(() => decodeDelta(chunks, null, 1000)).toThrow(MalformedPayloadError);
    for (const length of [999, 1001]) expect(() => decodeDelta([chunk], null, length)).toThrow(MalformedPayloadError);
  });

  it("that would grow beyond what is announced are not unpacked", () => {
    const bomb = zstdCompressSync(new Uint8Array(1 << 26));
    expect(bomb.length).toBeLessThan(10_000);
    expect(() => decodeDelta([bomb], null, 1000)).toThrow(MalformedPayloadError);
  });

  it("that were tampered with give as many numbers or are refused", () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(255), fc.boolean(), (at, byte, isCut) => {
        const changed = chunk.slice(0, isCut ? at % chunk.length : chunk.length);
        changed[at % chunk.length] = byte;
        try {
          expect(decodeDelta([changed], null, 1000)).toHaveLength(1000);
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedPayloadError);
        }
      }),
      { seed, numRuns: 500 },
    );
  });
});
