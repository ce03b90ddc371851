import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EventQueue } from "./event-queue.ts";

describe("the queue of what will happen", () => {
  it("hands out the earliest first, and at the same time what was planned first", () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 9 })), (times) => {
        const queue = new EventQueue<readonly [number, number]>();
        for (const [order, atMs] of times.entries()) queue.plan(atMs, [atMs, order]);
        const taken = times.map(() => queue.take());
        expect(taken).toEqual(times.map((atMs, order) => [atMs, order]).toSorted(([a = 0], [b = 0]) => a - b));
        expect(queue.take()).toBeUndefined();
      }),
      { seed: 20_261_126 },
    );
  });

  it("says when the next thing happens", () => {
    const queue = new EventQueue<string>();
    expect(queue.nextMs).toBeNull();
    queue.plan(7, "later");
    queue.plan(3, "sooner");
    expect([queue.nextMs, queue.peek()]).toEqual([3, "sooner"]);
  });
});
