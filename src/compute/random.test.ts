import { describe, expect, it } from "vitest";
import { fillNormal, streamKey, threefry, uniform } from "./random.ts";

describe("threefry", () => {
  it("gives the known answers of the authors' test vectors", () => {
    const vectors = [
      { key: [0, 0], counter: [0, 0], words: [0x6b200159, 0x99ba4efe] },
      { key: [-1, -1], counter: [-1, -1], words: [0x1cb996fc, 0xbb002be7] },
      { key: [0x13198a2e, 0x03707344], counter: [0x243f6a88, 0x85a308d3], words: [0xc4923a9c, 0x483df7a0] },
    ] as const;
    for (const { key, counter, words } of vectors) {
      const out = { first: 0, second: 0 };
      threefry(out, key, counter[0], counter[1]);
      expect([out.first >>> 0, out.second >>> 0]).toEqual(words);
    }
  });
});

describe("streams", () => {
  it("differ by name and by every bit of the seed", () => {
    const first = (seed: number, name: string) => uniform(streamKey(seed, name), 0, 0);
    const draws = [first(1, "a"), first(1, "b"), first(2, "a"), first(1 + 2 ** 32, "a")];
    expect(new Set(draws).size).toBe(draws.length);
  });

  it("are uniform over the unit interval", () => {
    const key = streamKey(7, "uniform");
    const buckets = new Array<number>(10).fill(0);
    for (let i = 0; i < 10_000; i++) {
      const bucket = Math.floor(uniform(key, 0, i) * 10);
      buckets[bucket] = (buckets[bucket] ?? 0) + 1;
    }
    for (const hits of buckets) expect(Math.abs(hits - 1000)).toBeLessThan(150);
  });

  it("give normal numbers with the deviation asked for", () => {
    const values = new Float32Array(20_001);
    fillNormal(values, streamKey(3, "normal"), 0.5);
    const moment = (power: number) => values.reduce((sum, x) => sum + x ** power, 0) / values.length;
    expect(Math.abs(moment(1))).toBeLessThan(0.02);
    expect(Math.sqrt(moment(2))).toBeCloseTo(0.5, 2);
    expect(moment(4) / moment(2) ** 2).toBeCloseTo(3, 0);
  });
});
