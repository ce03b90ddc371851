import { expect, it } from "vitest";
import { minerIdSchema } from "../../protocol/ids.ts";
import { FakeClock } from "../session/fake-clock.ts";
import { NextStage } from "./next-stage.ts";
import { Routes } from "./routes.ts";

const [source, last] = ["1", "2"].map((digit) => minerIdSchema.parse(digit.padStart(64, "0")));

it("whoever was full may be asked again as soon as its rest is over, even if that is while one looks", () => {
  if (source === undefined || last === undefined) throw new Error("two miners");
  const clock = new FakeClock();
  const stages = [[{ minerId: source, weight: 1 }], [{ minerId: last, weight: 1 }]];
  const routes = new Routes({ version: 1, stages, sources: [{ minerId: source, weight: 1 }] }, source, 1, clock);
  const next = new NextStage(routes, 1, clock);
  next.full(last);
  expect(next.choose()).toBeNull();
  expect(next.restMs()).toBeGreaterThan(0);
  clock.advance(1000);
  expect(next.restMs()).toBe(0);
  expect(next.choose()).toBe(last);
});
