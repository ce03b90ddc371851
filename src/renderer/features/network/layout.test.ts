import { expect, test } from "vitest";
import { headingHeight, layoutNetwork, type NetworkLayout, type Place, placeAt } from "./layout.ts";

const places = (layout: NetworkLayout) => layout.columns.flatMap((column) => column.places);
const apart = (a: Place, b: Place) =>
  a.x + a.width <= b.x + 1e-6 ||
  b.x + b.width <= a.x + 1e-6 ||
  a.y + a.height <= b.y + 1e-6 ||
  b.y + b.height <= a.y + 1e-6;

test("a few replicas become tiles, first stage at the left", () => {
  const layout = layoutNetwork({ width: 1080, height: 340, replicas: [2, 2, 2] });
  expect(layout.mode).toBe("tile");
  expect(layout.columns.map(({ places }) => places.length)).toEqual([2, 2, 2]);
  expect(layout.columns.map(({ centre }) => centre)).toEqual(
    [...layout.columns.map(({ centre }) => centre)].sort((a, b) => a - b),
  );
});

test.each([
  ["one miner", 900, 320, [1]],
  ["the default network", 1080, 340, [2, 2, 2]],
  ["a telephone", 360, 280, [2, 2, 2]],
  ["a stage that nobody holds", 900, 320, [3, 0, 2]],
  ["sixteen stages", 1080, 340, new Array(16).fill(3)],
  ["2,000 miners on four stages", 1080, 340, [500, 500, 500, 500]],
  ["2,000 miners on a telephone", 360, 280, [1200, 500, 300]],
])(
  "every replica of %s has a place of its own, inside the view and below the heading",
  (_name, width, height, replicas) => {
    const layout = layoutNetwork({ width, height, replicas });
    const all = places(layout);
    expect(all.length).toBe(replicas.reduce((sum, own) => sum + own, 0));
    for (const { x, y, width: w, height: h, left, right } of all) {
      expect(x).toBeGreaterThanOrEqual(0);
      expect(y).toBeGreaterThanOrEqual(headingHeight - 1e-6);
      expect(x + w).toBeLessThanOrEqual(width);
      expect(y + h).toBeLessThanOrEqual(height);
      expect(left).toBeLessThanOrEqual(x);
      expect(right).toBeGreaterThanOrEqual(x + w);
    }
    for (const { places: own } of layout.columns)
      own.forEach((place, index) => {
        for (const other of own.slice(index + 1))
          if (!apart(place, other)) expect.unreachable(`${place.replica} meets ${other.replica}`);
      });
  },
);

test("stages never reach into each other, so that microbatches have a channel between them", () => {
  const { columns } = layoutNetwork({ width: 360, height: 280, replicas: [1200, 500, 300] });
  for (const [index, column] of columns.slice(1).entries()) {
    const before = Math.max(...(columns[index]?.places ?? []).map(({ right }) => right));
    expect(Math.min(...column.places.map(({ left }) => left))).toBeGreaterThan(before);
  }
});

test("a point finds the window under it, and nothing in the channel", () => {
  const layout = layoutNetwork({ width: 1080, height: 340, replicas: [40, 40] });
  for (const place of places(layout)) expect(placeAt(layout, place.x + 1, place.y + 1)).toBe(place);
  expect(placeAt(layout, 540, 170)).toBeUndefined();
});
