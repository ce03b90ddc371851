import { expect, test } from "vitest";
import { type Entry, filterLog, type Level } from "./log-filter.ts";

const entry = (sequence: number, level: Level, text: string, source?: string): Entry => ({
  sequence,
  atMs: sequence,
  level,
  text,
  source,
});
const log = [
  entry(0, "debug", "frame sent", "flow"),
  entry(1, "info", "Epoch 3 is merged", "session"),
  entry(2, "error", "Worker ended", "compute"),
  entry(3, "warning", "Worker started again", "compute"),
];
const shownBy = (level: Level, search: string, limit = 10) =>
  filterLog(log, level, search, limit).shown.map(({ sequence }) => sequence);

test("the newest entry comes first", () => {
  expect(shownBy("debug", "")).toEqual([3, 2, 1, 0]);
});

test("a level shows itself and what is worse", () => {
  expect(shownBy("warning", "")).toEqual([3, 2]);
});

test("every word of the search must occur, in any case and order, in the text or the source", () => {
  expect(shownBy("debug", "STARTED compute")).toEqual([3]);
  expect(shownBy("debug", "worker merged")).toEqual([]);
});

test("what the limit leaves out is still counted", () => {
  const { shown, matching } = filterLog(log, "debug", "", 1);
  expect([shown.length, matching]).toEqual([1, 4]);
});
