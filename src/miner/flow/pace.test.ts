import { describe, expect, it } from "vitest";
import { microbatchesUnderWay, Pace } from "./pace.ts";

describe("the microbatches that a source keeps under way", () => {
  it("are one per stage and one more while nothing is known, as far as there is room", () => {
    expect(microbatchesUnderWay({ stages: 3, most: 16, roundTripMs: null, perMs: 0 })).toBe(4);
    expect(microbatchesUnderWay({ stages: 3, most: 2, roundTripMs: null, perMs: 0 })).toBe(2);
  });

  it("are half as many again as come back within a round trip", () => {
    expect(microbatchesUnderWay({ stages: 2, most: 100, roundTripMs: 400, perMs: 0.02 })).toBe(12);
    expect(microbatchesUnderWay({ stages: 2, most: 10, roundTripMs: 400, perMs: 0.02 })).toBe(10);
    expect(microbatchesUnderWay({ stages: 2, most: 100, roundTripMs: 400, perMs: 0.001 })).toBe(3);
  });

  it("become as many as hide a long round trip, and no more than half as many again", () => {
    // The slowest stage takes 10 ms for each; the way there and back takes 200 ms: 21 fill it.
    const pace = new Pace(3, 100);
    const most = pipeline(pace, { serviceMs: 10, wayMs: 200, microbatches: 400 });
    expect(most).toBeGreaterThanOrEqual(21);
    expect(most).toBeLessThanOrEqual(Math.ceil(1.5 * 21) + 1);
  });

  it("stay few where the way is short", () => {
    const pace = new Pace(2, 100);
    expect(pipeline(pace, { serviceMs: 10, wayMs: 4, microbatches: 200 })).toBeLessThanOrEqual(4);
  });

  it("become fewer when one is refused, whatever was measured, and more again while none is", () => {
    const pace = new Pace(3, 100);
    const before = pipeline(pace, { serviceMs: 10, wayMs: 200, microbatches: 400 });
    for (let refusal = 0; refusal < 5; refusal++) pace.refused();
    const after = pace.mostUnderWay;
    expect(after).toBe(Math.floor(0.7 * before));
    expect(pipeline(pace, { serviceMs: 10, wayMs: 200, microbatches: 400 })).toBeGreaterThan(after);
  });

  it("never become fewer than one per stage and one more", () => {
    const pace = new Pace(3, 100);
    for (let refusal = 0; refusal < 20; refusal++) {
      pace.returned(pace.departed(refusal), refusal + 1);
      pace.refused();
    }
    expect(pace.mostUnderWay).toBe(4);
  });
});

/** One server, and a way there and back; as many are under way as the pace lets. The most that it lets in the end. */
function pipeline(
  pace: Pace,
  { serviceMs, wayMs, microbatches }: { serviceMs: number; wayMs: number; microbatches: number },
): number {
  const returning: { departure: ReturnType<Pace["departed"]>; atMs: number }[] = [];
  let [nowMs, freeAtMs, begun] = [0, 0, 0];
  pace.stepBegan();
  while (begun < microbatches || returning.length > 0) {
    while (begun < microbatches && returning.length < pace.mostUnderWay) {
      freeAtMs = Math.max(freeAtMs, nowMs + wayMs / 2) + serviceMs;
      returning.push({ departure: pace.departed(nowMs), atMs: freeAtMs + wayMs / 2 });
      begun += 1;
    }
    const next = returning.shift();
    if (next === undefined) break;
    nowMs = Math.max(nowMs, next.atMs);
    pace.returned(next.departure, nowMs);
  }
  return pace.mostUnderWay;
}
