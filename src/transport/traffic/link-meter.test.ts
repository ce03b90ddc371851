import { describe, expect, it } from "vitest";
import { FakeClock } from "../../miner/session/fake-clock.ts";
import { LinkMeter } from "./link-meter.ts";

/** A link that carries `bytesPerSecond` and takes `delayMs` there and back. */
class FakeUplink {
  readonly clock = new FakeClock();
  readonly meter = new LinkMeter(this.clock);
  readonly #bytesPerSecond: number;
  readonly #delayMs: number;
  #freeAtMs = 0;

  constructor(bytesPerSecond: number, delayMs: number) {
    this.#bytesPerSecond = bytesPerSecond;
    this.#delayMs = delayMs;
  }

  get backlogMs(): number {
    return Math.max(0, this.#freeAtMs - this.clock.nowMs());
  }

  send(bytes: number): void {
    const waited = this.backlogMs > 0;
    this.#freeAtMs = Math.max(this.#freeAtMs, this.clock.nowMs()) + (bytes / this.#bytesPerSecond) * 1000;
    this.#returnLater(this.meter.sent(bytes, waited));
  }

  idle(): void {
    this.#returnLater(this.meter.idle());
  }

  #returnLater(mark: number | null): void {
    if (mark !== null) this.clock.after(this.backlogMs + this.#delayMs, () => this.meter.returned(mark));
  }
}

describe("the measured uplink", () => {
  it.each([125_000, 2_500_000, 60_000_000])("is what the link drains while data waits for it (%i B/s)", (rate) => {
    const link = new FakeUplink(rate, 40);
    link.idle();
    for (let ms = 0; ms < 5000; ms += 10) {
      while (link.backlogMs < 100) link.send(rate * 0.025);
      link.clock.advance(10);
    }
    expect((link.meter.estimate.upBytesPerSecond ?? 0) / rate).toBeCloseTo(1, 1);
    expect(link.meter.estimate.roundTripMs).toBe(40);
  });

  it("is not known as long as nothing fills it", () => {
    const link = new FakeUplink(2_500_000, 40);
    link.idle();
    for (let ms = 0; ms < 60_000; ms += 200) {
      link.send(100_000);
      link.clock.advance(200);
    }
    expect(link.meter.estimate).toEqual({ upBytesPerSecond: null, downBytesPerSecond: null, roundTripMs: 40 });
  });

  it("does not believe marks that come back together", () => {
    const clock = new FakeClock();
    const meter = new LinkMeter(clock);
    const marks: number[] = [];
    for (let ms = 0; ms < 3000; ms += 50) {
      const mark = meter.sent(50_000, ms > 0);
      if (mark !== null) marks.push(mark);
      clock.advance(50);
    }
    for (const mark of marks) meter.returned(mark);
    expect(meter.estimate.upBytesPerSecond).toBeLessThanOrEqual(1_000_000);
  });

  it("is learnt from what was stored, too, unless that was over in a moment", () => {
    const meter = new LinkMeter(new FakeClock());
    meter.stored(1_000_000, 10);
    expect(meter.estimate.upBytesPerSecond).toBeNull();
    meter.stored(10_000_000, 4000);
    expect(meter.estimate.upBytesPerSecond).toBe(2_500_000);
  });

  it("forgets the marks of a connection that is gone, and ignores those that nobody sent", () => {
    const clock = new FakeClock();
    const meter = new LinkMeter(clock);
    const mark = meter.idle() ?? 0;
    meter.connected();
    meter.returned(mark);
    meter.returned(4711);
    expect(meter.estimate.roundTripMs).toBeNull();
    expect(meter.idle()).not.toBeNull();
  });
});

describe("the measured downlink", () => {
  it.each([1_250_000, 12_500_000])("is what arrives in one go (%i B/s)", (rate) => {
    const clock = new FakeClock();
    const meter = new LinkMeter(clock);
    for (let ms = 0; ms < 3000; ms += 5) {
      meter.arrived(rate * 0.005);
      clock.advance(5);
    }
    expect((meter.estimate.downBytesPerSecond ?? 0) / rate).toBeCloseTo(1, 2);
  });

  it("is not taken from small messages with pauses in between", () => {
    const clock = new FakeClock();
    const meter = new LinkMeter(clock);
    for (let ms = 0; ms < 60_000; ms += 100) {
      meter.arrived(100_000);
      clock.advance(100);
    }
    expect(meter.estimate.downBytesPerSecond).toBeNull();
  });

  it("leaves out what had gathered somewhere and arrived at once, and forgets in ten minutes", () => {
    const clock = new FakeClock();
    const meter = new LinkMeter(clock);
    for (let ms = 0; ms < 3000; ms += 5) {
      meter.arrived(ms === 1500 ? 4_000_000 : 5_000);
      clock.advance(5);
    }
    expect((meter.estimate.downBytesPerSecond ?? 0) / 1e6).toBeCloseTo(1, 1);
    clock.advance(601_000);
    expect(meter.estimate.downBytesPerSecond).toBeNull();
  });
});
