import { expect, test } from "vitest";
import { createFormat } from "./format.ts";

const format = createFormat("en");
const plain = (text: string) => text.replaceAll("\u00a0", " ");

test("a count keeps three significant digits and takes the next prefix when rounding fills it", () => {
  expect([0, 7, 999, 1000, 1234, 99_949, 999_499, 999_999, 70_600_000_000].map((n) => plain(format.short(n)))).toEqual([
    "0",
    "7",
    "999",
    "1.00 k",
    "1.23 k",
    "99.9 k",
    "999 k",
    "1.00 M",
    "70.6 B",
  ]);
});

test("bytes carry their unit at every size", () => {
  expect([0, 512, 2_000, 45_600_000, 3e9, 7e18].map((n) => plain(format.bytes(n)))).toEqual([
    "0 B",
    "512 B",
    "2.00 kB",
    "45.6 MB",
    "3.00 GB",
    "7,000 PB",
  ]);
});

test("a duration shows its two largest units and leaves a zero out", () => {
  expect([0, 43.9, 60, 725, 4320, 3600, 273_600].map((n) => plain(format.duration(n)))).toEqual([
    "0 s",
    "43 s",
    "1 min",
    "12 min 5 s",
    "1 h 12 min",
    "1 h",
    "3 d 4 h",
  ]);
});

test("credits are cut after four digits and never rounded up", () => {
  expect([0, 125_000, 999_999, 12_345_678].map(format.credits)).toEqual(["0.0000", "0.1250", "0.9999", "12.3456"]);
});
