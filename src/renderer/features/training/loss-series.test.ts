import { expect, test } from "vitest";
import type { EpochRecord, Evaluation } from "../../../protocol/run-view.ts";
import { logTicks, lossSeries, valueAt } from "./loss-series.ts";

const epoch = (number: number, trainLossNats: number | null): EpochRecord => ({
  epoch: number,
  tokens: (number + 1) * 100,
  trainLossNats,
  finishedAtMs: 1_000_000 + (number + 1) * 20_000,
  durationMs: 20_000,
  contributors: 6,
  partitionsLost: 0,
});
const evaluation = (tokens: number, validationLossNats: number): Evaluation => ({
  epoch: tokens / 100,
  tokens,
  validationLossNats,
  validationTokens: 64,
  sample: null,
});

test("both losses share one rising axis of tokens, with gaps where one of them has no point", () => {
  const series = lossSeries(
    [epoch(0, 5), epoch(1, null), epoch(2, 3)],
    [evaluation(0, 5.6), evaluation(200, 4.2)],
    [],
    "tokens",
  );
  expect(series).toEqual({ x: [0, 100, 200, 300], train: [null, 5, null, 3], validation: [5.6, null, 4.2, null] });
});

test("the epoch in progress goes on from the finished ones", () => {
  const series = lossSeries([epoch(0, 5)], [], [{ tokens: 140, atMs: 1_025_000, lossNats: 4.4 }], "tokens");
  expect(series.x).toEqual([100, 140]);
  expect(series.train).toEqual([5, 4.4]);
});

test("over time an evaluation stands where its checkpoint was made, and the first one where training began", () => {
  const series = lossSeries([epoch(0, 5), epoch(1, 4)], [evaluation(0, 5.6), evaluation(200, 4.2)], [], "time");
  expect(series.x).toEqual([1000, 1020, 1040]);
  expect(series.validation).toEqual([5.6, null, 4.2]);
});

test("the value at a gap is the last one before it", () => {
  expect(valueAt([5, null, null, 3], 2)).toBe(5);
  expect(valueAt([null, 4], 0)).toBeNull();
  expect(valueAt([5, null], 99)).toBe(5);
});

test("100,000 points are merged without a loss", () => {
  const epochs = Array.from({ length: 100_000 }, (_, number) => epoch(number, 2));
  const series = lossSeries(epochs, [evaluation(5_000_000, 1.5)], [], "tokens");
  expect(series.x).toHaveLength(100_000);
  expect(series.validation[49_999]).toBe(1.5);
});

test.each([
  [1.4, 5.8],
  [0.02, 9],
  [1.5, 1.9],
  [3, 3000],
])("a logarithmic axis from %d to %d has a few round ticks inside it", (least, most) => {
  const ticks = logTicks(least, most);
  expect(ticks.length).toBeGreaterThanOrEqual(1);
  expect(ticks.length).toBeLessThanOrEqual(8);
  expect(ticks.every((tick) => tick >= least && tick <= most)).toBe(true);
  expect(ticks).toEqual([...ticks].sort((a, b) => a - b));
});
