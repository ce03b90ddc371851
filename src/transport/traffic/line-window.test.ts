import { describe, expect, it } from "vitest";
import { FakeClock } from "../../miner/session/fake-clock.ts";
import { LineWindow } from "./line-window.ts";

/** Of the other end's clock, which counts from anywhere. */
const otherClockMs = 7_000_000;

/** A line of a rate and a delay, and a sender that keeps as much on it as it may, in pieces. */
class FakeLine {
  readonly clock = new FakeClock();
  readonly window = new LineWindow(this.clock);
  handedBytes = 0;
  bytesPerMs: number;
  /** In the queue of the other way. */
  answersWaitMs = 0;
  answersSayWhen = true;
  #heldAnswers: (() => void)[] | null = null;
  readonly #oneWayMs: number;
  #freeAtMs = 0;

  constructor(bytesPerMs: number, oneWayMs: number) {
    this.bytesPerMs = bytesPerMs;
    this.#oneWayMs = oneWayMs;
  }

  /** While it does, answers wait and then come back together, as behind one that was lost. */
  set holdsAnswers(holds: boolean) {
    for (const answer of this.#heldAnswers ?? []) answer();
    this.#heldAnswers = holds ? [] : null;
  }

  hand(bytes: number): void {
    this.handedBytes += bytes;
    const upTo = this.handedBytes;
    this.window.mark(upTo);
    this.#freeAtMs = Math.max(this.#freeAtMs, this.clock.nowMs()) + bytes / this.bytesPerMs;
    const comesAtMs = this.#freeAtMs + this.#oneWayMs;
    const backAtMs = comesAtMs + this.#oneWayMs + this.answersWaitMs;
    const cameAtMs = this.answersSayWhen ? otherClockMs + comesAtMs : null;
    this.clock.after(backAtMs - this.clock.nowMs(), () => {
      const answer = () => void this.window.arrived({ handedBytes: upTo, cameAtMs });
      if (this.#heldAnswers === null) answer();
      else this.#heldAnswers.push(answer);
    });
  }

  /** Returns the share of the line that was used. */
  fillFor(ms: number): number {
    const arrivedBefore = this.window.arrivedBytes;
    const endsAtMs = this.clock.nowMs() + ms;
    while (this.clock.nowMs() < endsAtMs) {
      while (this.handedBytes - this.window.arrivedBytes < this.window.bytes) this.hand(8192);
      this.clock.advance(1);
    }
    return (this.window.arrivedBytes - arrivedBefore) / (ms * this.bytesPerMs);
  }
}

describe("the window of a line", () => {
  it.each([
    { mbps: 5, roundTripMs: 80, slackMs: 80 },
    { mbps: 20, roundTripMs: 40, slackMs: 50 },
    { mbps: 1000, roundTripMs: 10, slackMs: 50 },
  ])("comes to what $mbps Mbit/s hold in $roundTripMs ms, and some slack", ({ mbps, roundTripMs, slackMs }) => {
    const bytesPerMs = mbps * 125;
    const line = new FakeLine(bytesPerMs, roundTripMs / 2);
    line.fillFor(3000);
    const expected = bytesPerMs * (roundTripMs + slackMs);
    expect(line.window.bytes / expected).toBeGreaterThan(0.9);
    expect(line.window.bytes / expected).toBeLessThan(1.3);
    expect(line.fillFor(1000)).toBeGreaterThan(0.95);
  });

  it("is filled, too, while acknowledgements wait behind what comes the other way, and no longer than that", () => {
    const line = new FakeLine(2500, 20);
    line.fillFor(2000);
    const { bytes } = line.window;
    line.answersWaitMs = 400;
    line.fillFor(2000);
    expect(line.fillFor(10_000)).toBeGreaterThan(0.95);
    expect(line.window.bytes / (bytes + 2500 * 400)).toBeLessThan(1.1);
    line.answersWaitMs = 0;
    line.fillFor(2000);
    expect(line.window.bytes / bytes).toBeLessThan(1.3);
  });

  it("takes a line that has become slower for no late acknowledgements", () => {
    const line = new FakeLine(2500, 20);
    line.fillFor(2000);
    const { bytes } = line.window;
    line.bytesPerMs = 625;
    line.fillFor(5000);
    expect(line.window.bytes / bytes).toBeLessThan(1.1);
  });

  it("does not believe the other end's clock beyond reason", () => {
    const line = new FakeLine(2500, 20);
    line.fillFor(2000);
    line.hand(1000);
    line.clock.advance(1000);
    line.window.mark(line.handedBytes + 1);
    line.window.arrived({ handedBytes: line.handedBytes + 1, cameAtMs: 0 });
    line.window.mark(line.handedBytes + 2);
    line.window.arrived({ handedBytes: line.handedBytes + 2, cameAtMs: 2 ** 48 - 1 });
    expect(line.window.bytes).toBeLessThan(2500 * 6000);
  });

  it("does without that clock", () => {
    const line = new FakeLine(2500, 20);
    line.answersSayWhen = false;
    line.fillFor(3000);
    expect(line.fillFor(1000)).toBeGreaterThan(0.95);
  });

  it("takes spurts, and answers that come back together, for no faster line", () => {
    const line = new FakeLine(625, 40);
    for (let spurts = 0; spurts < 100; spurts++) {
      line.holdsAnswers = spurts % 3 === 0;
      for (let pieces = 0; pieces < 4; pieces++) line.hand(9000);
      line.clock.advance(20);
      line.hand(300);
      line.clock.advance(200);
      line.holdsAnswers = false;
      line.clock.advance(100);
    }
    expect(line.window.bytes / (625 * 160)).toBeLessThan(1.3);
  });

  it("does not shrink when little is sent", () => {
    const line = new FakeLine(2500, 20);
    line.fillFor(1000);
    const { bytes } = line.window;
    for (let pieces = 0; pieces < 50; pieces++) {
      line.hand(100);
      line.clock.advance(200);
    }
    expect(line.window.bytes / bytes).toBeGreaterThan(0.9);
  });

  it("forgets what a line could do when it has not done it for long", () => {
    const line = new FakeLine(2500, 20);
    line.fillFor(1000);
    const { bytes } = line.window;
    line.bytesPerMs = 1250;
    for (let minutes = 0; minutes < 11; minutes++) {
      line.fillFor(1000);
      line.clock.advance(59_000);
    }
    expect(line.window.bytes / bytes).toBeLessThan(0.6);
  });

  it("knows of no more than was asked about", () => {
    const line = new FakeLine(2500, 20);
    line.window.mark(1000);
    expect(line.window.arrived({ handedBytes: 2000, cameAtMs: null })).toBe(false);
    expect(line.window.arrived({ handedBytes: 999, cameAtMs: null })).toBe(false);
    expect(line.window.arrivedBytes).toBe(0);
    expect(line.window.arrived({ handedBytes: 1000, cameAtMs: null })).toBe(true);
    expect(line.window.arrived({ handedBytes: 1000, cameAtMs: null })).toBe(false);
  });
});
