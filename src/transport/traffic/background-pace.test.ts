import { describe, expect, it } from "vitest";
import { FakeClock } from "../../miner/session/fake-clock.ts";
import { BackgroundPace } from "./background-pace.ts";
import { LinkMeter } from "./link-meter.ts";

const bytesPerSecond = 2_500_000;
const roundTripMs = 40;
const pieceBytes = 16 << 10;
/** What a sender has on its way at once, as TCP does. */
const windowBytes = 256 << 10;

/** An uplink in which everything waits in one queue, with frames and an upload that keep it as full as their windows allow. */
class FakeUplink {
  readonly clock = new FakeClock();
  readonly meter = new LinkMeter(this.clock);
  readonly pace = new BackgroundPace(this.clock, this.meter);
  readonly carried = { frames: 0, upload: 0 };
  #freeAtMs = 0;

  constructor() {
    this.pace.sessionOpened(() => this.#overSession(0));
    // A round trip before anything is sent, as the session's greeting is.
    this.#overSession(0);
    this.clock.advance(1000);
  }

  get #queuedMs(): number {
    return Math.max(0, this.#freeAtMs - this.clock.nowMs());
  }

  /** So much, and a mark if one is due. */
  #overSession(bytes: number): void {
    const mark = this.meter.sent(bytes, this.#queuedMs > 0);
    if (mark === null) return;
    this.clock.after(this.#queuedMs + roundTripMs, () => {
      const tookMs = this.meter.returned(mark);
      if (tookMs !== null) this.pace.measured(tookMs);
    });
  }

  /** Through the queue, and acknowledged. */
  #carry(what: "frames" | "upload", bytes: number): Promise<void> {
    this.#freeAtMs = this.clock.nowMs() + this.#queuedMs + (bytes / bytesPerSecond) * 1000;
    this.clock.after(this.#queuedMs, () => {
      this.carried[what] += bytes;
    });
    return new Promise((resolve) => this.clock.after(this.#queuedMs + roundTripMs, resolve));
  }

  sendFrames(): void {
    for (let sent = 0; sent < windowBytes; sent += pieceBytes) void this.#keepSending();
  }

  async #keepSending(): Promise<void> {
    for (;;) {
      this.#overSession(pieceBytes);
      await this.#carry("frames", pieceBytes);
    }
  }

  async upload(): Promise<void> {
    let onItsWay = 0;
    for (let waiting: (() => void)[] = []; ; ) {
      await this.pace.turn();
      this.pace.spend(pieceBytes);
      onItsWay += pieceBytes;
      void this.#carry("upload", pieceBytes).then(() => {
        onItsWay -= pieceBytes;
        for (const goOn of waiting.splice(0)) goOn();
      });
      while (onItsWay >= windowBytes) await new Promise<void>((resolve) => waiting.push(resolve));
    }
  }

  /** Of what the link can carry, what each got in that time. */
  async shares(seconds: number): Promise<{ readonly frames: number; readonly upload: number }> {
    const before = { ...this.carried };
    await this.pass(seconds * 1000);
    const shareOf = (what: "frames" | "upload") => (this.carried[what] - before[what]) / (bytesPerSecond * seconds);
    return { frames: shareOf("frames"), upload: shareOf("upload") };
  }

  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 5) {
      this.clock.advance(5);
      // What follows from it is carried out by promises.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

describe("an upload in the background", () => {
  it("fills a link that nobody else uses, and delays what comes then by little", async () => {
    const link = new FakeUplink();
    void link.upload();
    await link.pass(5000);
    expect((await link.shares(20)).upload).toBeGreaterThan(0.85);
    expect(link.meter.estimate.roundTripMs).toBe(roundTripMs);
  });

  it("leaves the link to frames that fill it, but for an eighth", async () => {
    const link = new FakeUplink();
    void link.upload();
    await link.pass(5000);
    link.sendFrames();
    await link.pass(3000);
    const { frames, upload } = await link.shares(20);
    expect(frames).toBeGreaterThan(0.8);
    expect(upload).toBeGreaterThan(0.05);
  });

  /** A pace that uses all of its rate, told each quarter of a second that a mark took so long. */
  function steadily(roundTripsMs: readonly number[]): readonly number[] {
    const clock = new FakeClock();
    const estimate = { upBytesPerSecond: bytesPerSecond, downBytesPerSecond: null, roundTripMs };
    const pace = new BackgroundPace(clock, { estimate });
    pace.sessionOpened(() => {});
    return roundTripsMs.map((tookMs) => {
      pace.spend((pace.bytesPerSecond ?? 0) / 4);
      clock.advance(250);
      pace.measured(tookMs);
      return pace.bytesPerSecond ?? Number.POSITIVE_INFINITY;
    });
  }

  it("goes at half its rate at most when the round trip is twice the target too long, and at an eighth of the link in the end", () => {
    const rates = steadily([...Array(16).fill(roundTripMs), ...Array(40).fill(roundTripMs + 120)]);
    const fastest = Math.max(...rates);
    const after = rates.slice(rates.indexOf(fastest) + 1);
    expect(after.find((rate) => rate < fastest)).toBeCloseTo(fastest / 2);
    expect(after.at(-1)).toBe(bytesPerSecond / 8);
  });

  it("does not slow down for a single mark that came late", () => {
    const calm = steadily(Array(12).fill(roundTripMs));
    expect(steadily([...calm.slice(1).map(() => roundTripMs), 500]).at(-1)).toBeGreaterThanOrEqual(calm.at(-2) ?? 0);
  });

  it("leaves the link alone for half a second now and then, so that the shortest round trip is seen", () => {
    const rates = steadily([...Array(12).fill(roundTripMs), ...Array(250).fill(roundTripMs + 60)]).slice(12);
    const alone = rates.filter((rate) => rate === bytesPerSecond / 8);
    const [usual] = rates;
    expect(alone).toHaveLength(4);
    expect(rates.every((rate) => rate === usual || alone.includes(rate))).toBe(true);
  });

  it("goes out of the way at once when frames wait, and comes back when none have for half a second", () => {
    const clock = new FakeClock();
    const estimate = { upBytesPerSecond: bytesPerSecond, downBytesPerSecond: null, roundTripMs };
    const pace = new BackgroundPace(clock, { estimate });
    pace.sessionOpened(() => {});
    const mark = () => {
      pace.spend((pace.bytesPerSecond ?? 0) / 4);
      clock.advance(250);
      pace.measured(roundTripMs);
    };
    for (let marks = 0; marks < 12; marks++) mark();
    const before = pace.bytesPerSecond ?? 0;
    expect(before).toBeGreaterThan(bytesPerSecond / 2);
    for (let marks = 0; marks < 8; marks++) {
      pace.framesWait();
      expect(pace.bytesPerSecond).toBe(bytesPerSecond / 8);
      mark();
    }
    mark();
    expect(pace.bytesPerSecond).toBeGreaterThanOrEqual(before);
  });

  it("waits for nobody where there is no session", async () => {
    const pace = new BackgroundPace(new FakeClock(), new LinkMeter(new FakeClock()));
    expect(pace.bytesPerSecond).toBeNull();
    pace.sessionOpened(() => {});
    expect(pace.bytesPerSecond).toBeGreaterThan(0);
    pace.sessionClosed();
    expect(pace.bytesPerSecond).toBeNull();
    await pace.turn();
  });
});
