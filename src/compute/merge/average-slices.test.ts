import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fillNormal, streamKey } from "../random.ts";
import { averageSlices, type SliceContribution } from "./average-slices.ts";

const seed = 20_261_126;
const length = 1024;

function random(name: string, deviation = 1): Float32Array {
  const values = new Float32Array(length);
  fillNormal(values, streamKey(seed, name), deviation);
  return values;
}

/** A replica's summed gradient over so many tokens, each of which has `direction` and noise of that deviation. */
function gradient(name: string, tokens: number, direction: Float32Array, deviation: number): Float32Array {
  const noise = random(name, Math.sqrt(tokens) * deviation);
  return direction.map((value, i) => tokens * value + (noise[i] ?? 0));
}

describe("slices", () => {
  const contributions: readonly SliceContribution[] = [
    { values: Float32Array.of(1, 2, 3), tokens: 1 },
    { values: Float32Array.of(5, 0, 3), tokens: 3 },
  ];

  it("are averaged by their tokens when replicas step by themselves", () => {
    expect(averageSlices(contributions, "local-steps")).toEqual({ values: Float32Array.of(4, 0.5, 3), outliers: [] });
  });

  it("are added up in sync mode", () => {
    expect(averageSlices(contributions, "sync")).toEqual({ values: Float32Array.of(6, 2, 6), outliers: [] });
  });

  it("are exact to the last bit of an f32", () => {
    const values = fc.array(fc.float({ noNaN: true, noDefaultInfinity: true, min: -1000, max: 1000 }), {
      minLength: 3,
      maxLength: 3,
    });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(values, fc.integer({ min: 1, max: 1e6 })), { minLength: 1, maxLength: 2 }),
        (all) => {
          const given = all.map(([numbers, tokens]) => ({ values: Float32Array.from(numbers), tokens }));
          const total = given.reduce((sum, { tokens }) => sum + tokens, 0);
          const mean = [0, 1, 2].map(
            (i) => given.reduce((sum, one) => sum + (one.values[i] ?? 0) * one.tokens, 0) / total,
          );
          averageSlices(given, "local-steps").values?.forEach((value, i) => {
            expect(Math.abs(value - (mean[i] ?? 0))).toBeLessThanOrEqual(2 ** -23 * Math.abs(mean[i] ?? 0) + 1e-40);
          });
        },
      ),
      { seed },
    );
  });

  it("that cannot be had, or come without tokens, leave the others' mean", () => {
    const more = [...contributions, { values: null, tokens: 4 }, { values: Float32Array.of(9, 9, 9), tokens: 0 }];
    expect(averageSlices(more, "local-steps")).toEqual(averageSlices(contributions, "local-steps"));
    // The step divides by the tokens of all eight: so that it is as long as if the others had gone in the same direction.
    expect(averageSlices(more, "sync").values).toEqual(Float32Array.of(12, 4, 12));
  });

  it("that nobody has add up to nothing", () => {
    expect(averageSlices([{ values: null, tokens: 4 }], "sync")).toEqual({ values: null, outliers: [] });
    expect(averageSlices([], "local-steps")).toEqual({ values: null, outliers: [] });
  });
});

describe("an outlier", () => {
  const direction = random("direction");
  const honest = ["a", "b", "c"].map((name) => ({ values: gradient(name, 1000, direction, 20), tokens: 1000 }));
  const attacks: readonly (readonly [string, Float32Array])[] = [
    ["a NaN", direction.map((value, i) => (i === 7 ? Number.NaN : value))],
    ["an infinity", direction.map((value, i) => (i === 7 ? Number.POSITIVE_INFINITY : value))],
    ["a hundred times the others' length", gradient("d", 1000, direction, 20).map((value) => 100 * value)],
    ["noise of ten times the others' length", random("noise", 10_000)],
    ["its sign turned", gradient("d", 1000, direction, 20).map((value) => -value)],
  ];

  describe.each(["sync", "local-steps"] as const)("in %s mode", (mode) => {
    it.each(attacks)("is left out for %s, wherever it stands", (_, values) => {
      for (let place = 0; place <= honest.length; place++) {
        const all = honest.toSpliced(place, 0, { values, tokens: 1000 });
        const { values: averaged, outliers } = averageSlices(all, mode);
        expect(outliers).toEqual([place]);
        const rest = averageSlices(honest, mode).values?.map((value) => (mode === "sync" ? (4 * value) / 3 : value));
        averaged?.forEach((value, i) => {
          expect(value / (rest?.[i] ?? Number.NaN)).toBeCloseTo(1, 6);
        });
      }
    });
  });

  it("that is not finite is left out among two as well, and alone", () => {
    const broken = { values: new Float32Array(length).fill(Number.NaN), tokens: 5 };
    expect(averageSlices([broken], "sync")).toEqual({ values: null, outliers: [0] });
    expect(averageSlices([honest[0] as SliceContribution, broken], "sync").outliers).toEqual([1]);
  });

  it("is never an honest replica, however small its batch, in noise or out of it", () => {
    const batches = fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 2, maxLength: 9 });
    const noises = fc.constantFrom(0.01, 1, 10, 100, 1000);
    let draws = 0;
    fc.assert(
      fc.property(batches, noises, fc.constantFrom("sync", "local-steps"), (tokens, noise, mode) => {
        const contributions = tokens.map((count) => {
          const values = gradient(`${draws++}`, count, direction, noise);
          return { values: mode === "sync" ? values : values.map((value) => value / count), tokens: count };
        });
        expect(averageSlices(contributions, mode as "sync").outliers).toEqual([]);
      }),
      { seed, numRuns: 1000 },
    );
  });

  it("is never an honest replica where all noise lies in a few directions", () => {
    const axes = Array.from({ length: 32 }, (_, axis) => random(`axis ${axis}`));
    const noise = (name: string) => {
      const coefficients = random(name);
      return new Float32Array(length).map((_, i) =>
        axes.reduce((sum, axis, k) => sum + (coefficients[k] ?? 0) * (axis[i] ?? 0), 0),
      );
    };
    for (let round = 0; round < 300; round++) {
      const contributions = [0, 1, 2].map((replica) => ({ values: noise(`${round} ${replica}`), tokens: 100 }));
      expect(averageSlices(contributions, "sync").outliers).toEqual([]);
    }
  });
});
