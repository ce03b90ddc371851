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
    // No more than twice what passes in the second that tells enough, and as much again to get there.
    expect(moved.reduce((sum, bytes) => sum + bytes)).toBeLessThanOrEqual(Math.max(4 * rate, 32 << 10));
  });

  it("is that of the last transfer that came to its end, or none", async () => {
    expect(await transferRate(lineOf(100_000, 1000).transfer, roundTripMs)).toBeCloseTo(100_000);
    expect(await transferRate(lineOf(1000, 1000).transfer, roundTripMs)).toBeNull();
  });

  it("is not lost where a transfer is over before the round trip that was measured", async () => {
    expect(await transferRate(async () => 0, roundTripMs)).toBe(mostLineBytes * 1000);
  });
});

it("says how long an answer takes in the middle, and how much the next one differs", () => {
  expect(roundTripOf([10, 30, 20, 20])).toEqual({ medianMs: 20, jitterMs: 10 });
  expect(roundTripOf([7])).toEqual({ medianMs: 7, jitterMs: 0 });
  expect(roundTripOf([])).toBeNull();
});
