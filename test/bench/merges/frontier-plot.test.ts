import { describe, expect, it } from "vitest";
import { frontierPlot } from "./frontier-plot.ts";

function point(ratio: number, mean: number) {
  return { label: `codec ${ratio}`, ratio, gap: { mean, lowest: mean - 0.5, highest: mean + 0.5 } };
}

/** Centres of the drawn points. */
function centres(svg: string): readonly (readonly number[])[] {
  return [...svg.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)"/g)].map(([, x, y]) => [Number(x), Number(y)]);
}

describe("the plot of a frontier", () => {
  it("puts equal ratios equally far apart, and what costs more higher up", () => {
    const [a, b, c] = centres(frontierPlot([{ name: "one", points: [point(2, 0), point(10, 1), point(50, 5)] }]));
    const [[ax = 0, ay = 0] = [], [bx = 0, by = 0] = [], [cx = 0, cy = 0] = []] = [a, b, c];
    expect(cx - bx).toBeCloseTo(bx - ax, 0);
    expect(ay - cy).toBeCloseTo(5 * (ay - by), 0);
  });

  it("draws an error bar with two ends for every point, within the picture", () => {
    const svg = frontierPlot([
      { name: "one", points: [point(1, 0), point(700, 90)] },
      { name: "two", points: [point(15, -3)] },
    ]);
    expect(svg.match(/class="bar"/g)).toHaveLength(9);
    for (const [, , y] of svg.matchAll(/(y1|y2|cy)="([^"]+)"/g)) {
      expect(Number(y)).toBeGreaterThanOrEqual(0);
      expect(Number(y)).toBeLessThanOrEqual(420);
    }
  });

  it("is a picture without any points, too", () => {
    expect(centres(frontierPlot([{ name: "one", points: [] }]))).toEqual([]);
    expect(frontierPlot([])).not.toContain("NaN");
  });
});
