import { expect, test } from "vitest";
import type { MinerId } from "../../../protocol/ids.ts";
import { layoutNetwork, type Place } from "./layout.ts";
import { isOver, type PlacesOfMiner, pathBetween, pointOn, progressOf, scheduleMovers, travelMs } from "./traffic.ts";

const ids = ["a", "b", "c"].map((letter) => letter.repeat(64) as MinerId);
const [first, second, third] = ids as [MinerId, MinerId, MinerId];
const { columns } = layoutNetwork({ width: 1080, height: 340, replicas: [1, 1, 1] });
const at = (stage: number): Place => {
  const place = columns[stage]?.places[0];
  if (!place) throw new Error("no such stage");
  return place;
};
const places: PlacesOfMiner = new Map(ids.map((minerId, stage) => [minerId, [at(stage)]]));
const schedule = { nowMs: 1000, intervalMs: 500, most: 400, ownId: second, random: () => 0.5 };

test("each message becomes one mover, spread over the time until the next telemetry", () => {
  const movers = scheduleMovers([{ from: first, to: second, kind: "forward", messages: 5 }], places, schedule);
  expect(movers.map(({ startMs }) => startMs)).toEqual([1050, 1150, 1250, 1350, 1450]);
  expect(movers.every(({ own, from, to }) => own && from === at(0) && to === at(1))).toBe(true);
});

test("traffic that does not touch this machine is not marked as its own", () => {
  const [mover] = scheduleMovers([{ from: first, to: second, kind: "forward", messages: 1 }], places, {
    ...schedule,
    ownId: third,
  });
  expect(mover?.own).toBe(false);
});

test("a crowd of messages is thinned out, but every link keeps its share", () => {
  const flows = [
    { from: first, to: second, kind: "forward" as const, messages: 30_000 },
    { from: second, to: first, kind: "backward" as const, messages: 10_000 },
  ];
  const movers = scheduleMovers(flows, places, { ...schedule, most: 400 });
  expect(movers.filter(({ kind }) => kind === "forward")).toHaveLength(300);
  expect(movers.filter(({ kind }) => kind === "backward")).toHaveLength(100);
});

test("a miner with several stages sends from the one before the receiver's", () => {
  const both: PlacesOfMiner = new Map([
    [first, [at(0), at(1)]],
    [third, [at(2)]],
  ]);
  const [mover] = scheduleMovers([{ from: first, to: third, kind: "forward", messages: 1 }], both, schedule);
  expect(mover?.from.stage).toBe(1);
});

test("a message from a miner that is no longer shown is left out", () => {
  const gone = "d".repeat(64) as MinerId;
  expect(scheduleMovers([{ from: gone, to: second, kind: "forward", messages: 3 }], places, schedule)).toEqual([]);
});

test("a mover leaves at its start, arrives after the travel time, and is gone then", () => {
  const [mover] = scheduleMovers([{ from: first, to: second, kind: "forward", messages: 1 }], places, schedule);
  if (!mover) return expect.unreachable("a message makes a mover");
  expect(progressOf(mover, mover.startMs - 1)).toBeUndefined();
  expect(progressOf(mover, mover.startMs)).toBe(0);
  expect(progressOf(mover, mover.startMs + travelMs)).toBe(1);
  expect(isOver(mover, mover.startMs + travelMs + 1)).toBe(true);
});

test("forward and backward keep to lanes of their own between the same two windows", () => {
  const forward = pathBetween(at(0), at(1));
  const backward = pathBetween(at(1), at(0));
  expect([forward.fromX, forward.toX]).toEqual([backward.toX, backward.fromX]);
  expect(forward.fromY).toBeLessThan(backward.toY);
  expect(pointOn(forward, 0)).toEqual([forward.fromX, forward.fromY]);
  expect(pointOn(forward, 1)).toEqual([forward.toX, forward.toY]);
});
