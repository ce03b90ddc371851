import { describe, expect, it } from "vitest";
import { FakeClock } from "../../miner/session/fake-clock.ts";
import { ByteBudget, type Urgency } from "./byte-budget.ts";

/** A sender that always has more to send, in pieces of `pieceBytes`; what it sent and when. */
function sendForever(budget: ByteBudget, clock: FakeClock, urgency: Urgency, pieceBytes: () => number) {
  const sent: { readonly atMs: number; readonly bytes: number }[] = [];
  const send = () => {
    const bytes = Math.ceil(pieceBytes());
    budget.spend(bytes);
    sent.push({ atMs: clock.nowMs(), bytes });
    budget.whenOpen(urgency, send);
  };
  budget.whenOpen(urgency, send);
  return sent;
}

const total = (sent: readonly { readonly bytes: number }[]) => sent.reduce((sum, { bytes }) => sum + bytes, 0);

describe("a byte budget", () => {
  it.each([
    [1, 12_500],
    [2, 80_000],
    [3, 625_000],
    [4, 2_500_000],
    [5, 12_500_000],
  ])("lets pass, in any stretch of time, no more than its rate and one burst (seed %i, %i B/s)", (seed, rate) => {
    const clock = new FakeClock(seed);
    const budget = new ByteBudget(clock);
    budget.setRate(rate);
    const largest = rate * 0.05;
    const piece = () => largest * (0.1 + 0.9 * clock.random());
    const streams = (["urgent", "urgent", "background"] as const).map((urgency) =>
      sendForever(budget, clock, urgency, piece),
    );
    // Quiet times, in which timers are late, and busy ones.
    for (let turn = 0; turn < 300; turn++) clock.advance(clock.random() ** 4 * 2000);
    const all = streams.flat().sort((a, b) => a.atMs - b.atMs);
    expect(all.length).toBeGreaterThan(500);
    /** Beyond the rate, since the beginning; in a stretch of time passes the difference of its two ends. */
    let excess = 0;
    let least = 0;
    let most = 0;
    for (const [index, { atMs, bytes }] of all.entries()) {
      excess -= ((atMs - (all[index - 1]?.atMs ?? atMs)) * rate) / 1000;
      least = Math.min(least, excess);
      excess += bytes;
      most = Math.max(most, excess - least);
    }
    expect(most).toBeLessThanOrEqual(Math.max(64 << 10, rate * 0.1) + largest + 1);
  });

  it.each([12_500, 625_000, 12_500_000])(
    "is used up to the last twentieth by who has enough to send (%i B/s)",
    (rate) => {
      const clock = new FakeClock(1);
      const budget = new ByteBudget(clock);
      budget.setRate(rate);
      const sent = sendForever(budget, clock, "urgent", () => Math.max(16 << 10, rate * 0.025));
      for (let turn = 0; turn < 6000; turn++) clock.advance(10);
      expect(total(sent) / (60 * rate)).toBeGreaterThan(0.95);
      expect(total(sent) / (60 * rate)).toBeLessThan(1.05);
    },
  );

  it("counts what cannot wait, and makes up for it afterwards", () => {
    const clock = new FakeClock();
    const budget = new ByteBudget(clock);
    budget.setRate(1e6);
    const sent = sendForever(budget, clock, "urgent", () => 10_000);
    for (let ms = 0; ms < 10_000; ms++) {
      if (ms % 10 === 0) budget.spend(3_000);
      clock.advance(1);
    }
    expect(total(sent) + 3e6).toBeGreaterThan(0.95 * 1e7);
    expect(total(sent) + 3e6).toBeLessThan(1.05 * 1e7);
  });

  it("lets the urgent go first and still gives the rest a turn", () => {
    const clock = new FakeClock();
    const budget = new ByteBudget(clock);
    budget.setRate(1e6);
    const urgent = sendForever(budget, clock, "urgent", () => 10_000);
    const background = sendForever(budget, clock, "background", () => 10_000);
    clock.advance(10_000);
    expect(total(urgent) / total(background)).toBeCloseTo(4, 1);
  });

  it("lets everything pass without a rate, and whatever waits once the rate is gone", async () => {
    const clock = new FakeClock();
    const budget = new ByteBudget(clock);
    await budget.turn("background");
    budget.setRate(1000);
    budget.spend(1_000_000);
    const waiting = budget.turn("background");
    expect(budget.isOpen).toBe(false);
    budget.setRate(null);
    await waiting;
    expect(budget.isOpen).toBe(true);
  });

  it("goes at a new rate from when it is told", () => {
    const clock = new FakeClock();
    const budget = new ByteBudget(clock);
    budget.setRate(1e5);
    const sent = sendForever(budget, clock, "urgent", () => 5_000);
    clock.advance(1000);
    budget.setRate(1e6);
    clock.advance(1000);
    expect(total(sent)).toBeGreaterThan(1.04e6);
    expect(total(sent)).toBeLessThan(1.3e6);
  });

  it("forgets who no longer waits", () => {
    const clock = new FakeClock();
    const budget = new ByteBudget(clock);
    budget.setRate(1000);
    let turns = 0;
    budget.whenOpen("urgent", () => turns++)();
    budget.whenOpen("urgent", () => turns++);
    clock.advance(1000);
    expect(turns).toBe(1);
  });
});
