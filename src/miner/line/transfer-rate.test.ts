import { describe, expect, it } from "vitest";
import { mostLineBytes } from "../../protocol/line-view.ts";
import { roundTripOf, transferRate } from "./transfer-rate.ts";

const roundTripMs = 40;

/** Of so many bytes per second, and what passed over it. */
function lineOf(bytesPerSecond: number, limitMs = Number.POSITIVE_INFINITY) {
  const moved: number[] = [];
  let totalMs = 0;
  const transfer = async (bytes: number) => {
    const elapsedMs = roundTripMs + (bytes / bytesPerSecond) * 1000;
    totalMs += elapsedMs;
    if (totalMs > limitMs) return null;
    moved.push(bytes);
    return elapsedMs;
  };
  return { moved, transfer };
}

describe("the rate of a line", () => {
  it.each([10_000, 125_000, 2.5e6, 125e6, 1e10])("is found, whether it is slow or fast: %i bytes/s", async (rate) => {
    const { moved, transfer } = lineOf(rate);
    expect(await transferRate(transfer, roundTripMs)).toBeCloseTo(rate, -rate / 100);
    expect(Math.max(...moved)).toBeLessThanOrEqual(mostLineBytes);
    // What passes in the longer of two that take half a second each, or the first two of all, and less than that to get there.
    expect(moved.reduce((sum, bytes) => sum + bytes)).toBeLessThanOrEqual(Math.max(4 * rate, 96 << 10));
  });

  it("is that of the last transfer that came to its end, or none", async () => {
    expect(await transferRate(lineOf(100_000, 1500).transfer, roundTripMs)).toBeCloseTo(100_000);
    expect(await transferRate(lineOf(1000, 1000).transfer, roundTripMs)).toBeNull();
  });

  it("is not taken for slower because one transfer was held up", async () => {
    const { transfer } = lineOf(2.5e6);
    let transfers = 0;
    const heldUp = async (bytes: number) => ((await transfer(bytes)) ?? 0) + (transfers++ === 2 ? 2000 : 0);
    expect(await transferRate(heldUp, roundTripMs)).toBeCloseTo(2.5e6);
  });

  it("is not lost where a transfer is over before the round trip that was measured", async () => {
    expect(await transferRate(async () => 0, roundTripMs)).toBe(mostLineBytes * 1000);
  });
});

it("says how long an answer takes in the middle, and how much the next one differs", () => {
  expect(roundTripOf([10, 30, 20, 20])).toEqual({ medianMs: 20, jitterMs: 10 });
  expect(roundTripOf([10, 11, 400, 10, 11, 10])).toEqual({ medianMs: 11, jitterMs: 1 });
  expect(roundTripOf([7])).toEqual({ medianMs: 7, jitterMs: 0 });
  expect(roundTripOf([])).toBeNull();
});
