import { describe, expect, it } from "vitest";
import { NonFiniteError } from "../non-finite.ts";
import { fillNormal, streamKey } from "../random.ts";
import { MalformedPayloadError } from "./malformed.ts";
import { decodeMoments, encodeMoments, type Moments, momentsBytes } from "./moments.ts";

/** Three blocks, the last one short. */
const parameters = 2 * 256 + 100;

/** Normal numbers times powers of two from 2⁰ down to 2⁻ʳ. */
function spread(name: string, powersOfTwo: number): Float32Array {
  const values = new Float32Array(parameters);
  fillNormal(values, streamKey(1, name), 1);
  return values.map((value, index) => value * 2 ** -((index * 7919) % (powersOfTwo + 1)));
}

function moments(changes: Partial<Moments> = {}): Moments {
  const first = spread("first", 10);
  const second = spread("second", 20).map((value) => value * value);
  return { first, second, outer: null, steps: 70_000, ...changes };
}

function roundTrip(before: Moments): Moments {
  return decodeMoments(encodeMoments(before), parameters, before.outer !== null);
}

describe("compact moments", () => {
  it("take about two bytes per parameter, and four more where there is an outer momentum", () => {
    const outer = spread("outer", 3);
    expect(encodeMoments(moments())).toHaveLength(momentsBytes(parameters, false));
    expect(encodeMoments(moments({ outer }))).toHaveLength(momentsBytes(parameters, true));
    expect(momentsBytes(1_000_000, false) / 1_000_000).toBeCloseTo(2.031, 2);
    expect(momentsBytes(1_000_000, true) / 1_000_000).toBeCloseTo(6.031, 2);
  });

  it("come back within a sixteenth, the outer momentum and the steps as they were", () => {
    const before = moments({ outer: spread("outer", 3) });
    const after = roundTrip(before);
    for (const [moment, powersOfTwo] of [
      ["first", 15],
      ["second", 31],
    ] as const) {
      const smallest = 2 ** -powersOfTwo * Math.max(...before[moment].map(Math.abs));
      for (const [index, value] of before[moment].entries()) {
        const error = Math.abs((after[moment][index] ?? Number.NaN) - value);
        expect(error).toBeLessThanOrEqual(Math.max(Math.abs(value) / 16, smallest));
      }
    }
    expect(after.outer).toEqual(before.outer);
    expect(after.steps).toBe(70_000);
  });

  it("of any size: powers of two of the largest of a block are exact, zeros stay zeros", () => {
    const first = new Float32Array(parameters);
    first.set([1e30, -(2 ** -10) * 1e30, 0]);
    first.set([1e-40, -1e-40], 256);
    const second = new Float32Array(parameters);
    second.set([3e38, 2 ** -28 * 3e38, 0]);
    const after = roundTrip(moments({ first, second }));
    expect(after.first).toEqual(first);
    expect(after.second).toEqual(second);
  });

  it("never make nothing of a second moment, by whose root steps are divided", () => {
    const first = new Float32Array(parameters).fill(1e-30);
    const second = first.slice();
    first[0] = second[0] = 1;
    const after = roundTrip(moments({ first, second }));
    expect(after.first[1]).toBe(0);
    expect(after.second[1]).toBeGreaterThanOrEqual(1e-30);
    expect(after.second[1]).toBeLessThan(2 ** -30);
  });

  it.each(["first", "second", "outer"] as const)("are refused where the %s is not finite", (moment) => {
    const values = spread("values", 3).map(Math.abs);
    values[300] = Number.NaN;
    expect(() => encodeMoments(moments({ [moment]: values }))).toThrow(NonFiniteError);
  });

  it("refuse what nobody could have made of numbers", () => {
    const good = encodeMoments(moments());
    const changed = (index: number, value: number) => good.with(index, value);
    const scaleOf = (value: number) => {
      const bad = good.slice();
      new DataView(bad.buffer).setFloat32(8, value, true);
      return bad;
    };
    const bad = [
      good.subarray(1),
      good.subarray(0, 7),
      Uint8Array.of(...good, 0),
      new Uint8Array(0),
      changed(0, 0x20),
      changed(1, 1),
      changed(2, 1),
      scaleOf(-1),
      scaleOf(Number.POSITIVE_INFINITY),
      scaleOf(Number.NaN),
    ];
    for (const payload of bad) expect(() => decodeMoments(payload, parameters, false)).toThrow(MalformedPayloadError);
    expect(() => decodeMoments(good, parameters, true)).toThrow(MalformedPayloadError);
  });

  it("make numbers of any codes, wherever in its buffer a payload lies", () => {
    const good = encodeMoments(moments());
    const shifted = new Uint8Array(good.length + 1).subarray(1);
    shifted.set(good);
    expect(decodeMoments(shifted, parameters, false)).toEqual(roundTrip(moments()));
    const codes = good.fill(0xff, good.length - 2 * parameters);
    const { first, second } = decodeMoments(codes, parameters, false);
    expect(first.every(Number.isFinite)).toBe(true);
    expect(second.every((value) => Number.isFinite(value) && value >= 0)).toBe(true);
  });
});
