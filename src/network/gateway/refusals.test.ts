import { expect, it } from "vitest";
import { Refusals } from "./refusals.ts";

it("refusals are counted for good, and reported once", () => {
  const refusals = new Refusals();
  const lines: string[] = [];
  const report = () => refusals.report((line) => lines.push(line));
  report();
  for (const code of ["banned", "timed-out", "banned"] as const) refusals.count(code);
  report();
  report();
  refusals.count("banned");
  report();
  expect(lines).toEqual([
    "refused since the last report: 2 banned, 1 timed-out",
    "refused since the last report: 1 banned",
  ]);
  expect(refusals.counts).toEqual({ banned: 3, "timed-out": 1 });
});
