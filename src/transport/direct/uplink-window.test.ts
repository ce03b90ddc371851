import { describe, expect, it } from "vitest";
import { FakeClock } from "../../miner/session/fake-clock.ts";
import { UplinkWindow } from "./uplink-window.ts";

interface Line {
  bytesPerSecond: number;
  readonly roundTripMs: number;
}

/** A home's line with an endless queue, and connections that always have something to send. */
class World {
  readonly clock = new FakeClock();
  readonly line: Line;
  readonly window: UplinkWindow;
  /** While more waited. */
  busyBytes = 0;
  #lineFreeAtMs = 0;

  constructor(line: Line) {
    this.line = line;
    this.window = new UplinkWindow(this.clock, (bytes, isFull) => {
      if (isFull) this.busyBytes += bytes;
    });
  }

  get queueMs(): number {
    return Math.max(0, this.#lineFreeAtMs - this.clock.nowMs());
  }

  /** `isSmoothed`: the round trip is counted as UDX does it (RFC 6298). */
  connect(options: { readonly isDeaf?: boolean; readonly isSmoothed?: boolean } = {}): Connection {
    const counters = { bytesTransmitted: 0, packetsTransmitted: 0, inflight: 0, rtt: 0 };
    const connection = { arrivedBytes: 0 };
    const lane = this.window.open(counters);
    const transmit = (bytes: number) => {
      const sentAtMs = this.clock.nowMs();
      counters.bytesTransmitted += bytes;
      counters.inflight += bytes;
      if (options.isDeaf) return;
      this.#lineFreeAtMs = sentAtMs + this.queueMs + (bytes / this.line.bytesPerSecond) * 1000;
      this.clock.after(this.#lineFreeAtMs + this.line.roundTripMs - sentAtMs, () => {
        counters.inflight -= bytes;
        const roundTripMs = this.clock.nowMs() - sentAtMs;
        const isSmoothed = options.isSmoothed === true && counters.rtt > 0;
        counters.rtt = Math.round(isSmoothed ? counters.rtt + (roundTripMs - counters.rtt) / 8 : roundTripMs);
        connection.arrivedBytes += bytes;
      });
    };
    const pump = () => {
      while (this.window.isOpen(lane)) {
        const bytes = this.window.chunkBytes;
        this.window.sends(lane, bytes);
        transmit(bytes);
      }
      this.window.whenOpen(lane, pump);
    };
    pump();
    return connection;
  }

  /** Returns what arrived meanwhile, as a share of what the line carries, and how long the queue was on average. */
  watch(seconds: number, ...connections: readonly Connection[]) {
    const arrived = () => connections.map(({ arrivedBytes }) => arrivedBytes);
    const before = arrived();
    let queueMs = 0;
    for (let turn = 0; turn < 100 * seconds; turn++) {
      this.clock.advance(10);
      queueMs += this.queueMs / (100 * seconds);
    }
    const lineBytes = seconds * this.line.bytesPerSecond;
    const shares = arrived().map((bytes, index) => (bytes - (before[index] ?? 0)) / lineBytes);
    return { shares, share: shares.reduce((sum, share) => sum + share, 0), queueMs };
  }
}

interface Connection {
  readonly arrivedBytes: number;
}

describe("the window of all direct connections", () => {
  const home: Line = { bytesPerSecond: 625_000, roundTripMs: 160 };
  const lines: readonly Line[] = [
    home,
    { bytesPerSecond: 125_000, roundTripMs: 40 },
    { bytesPerSecond: 2_500_000, roundTripMs: 40 },
    { bytesPerSecond: 12_500_000, roundTripMs: 20 },
    { bytesPerSecond: 31_000_000, roundTripMs: 50 },
  ];

  it.each(lines)(
    "fills a line of $bytesPerSecond bytes a second at $roundTripMs ms, in front of which little waits",
    (line) => {
      const world = new World({ ...line });
      const connection = world.connect();
      world.watch(10, connection);
      const { share, queueMs } = world.watch(60, connection);
      expect(share).toBeGreaterThan(0.93);
      // Of the slowest line two chunks are 260 ms.
      expect(queueMs).toBeLessThan(line.bytesPerSecond < 500_000 ? 300 : 100);
    },
  );

  it("gives several connections the same shares of the line, and makes their queue no longer", () => {
    const world = new World({ ...home });
    const connections = [1, 2, 3, 4].map(() => world.connect());
    world.watch(10, ...connections);
    const { shares, share, queueMs } = world.watch(30, ...connections);
    expect(share).toBeGreaterThan(0.93);
    expect(Math.min(...shares)).toBeGreaterThan(0.2);
    expect(queueMs).toBeLessThan(100);
  });

  it("leaves the line to the others when nothing arrives at one peer", () => {
    const world = new World({ ...home });
    const connections = [world.connect(), world.connect()];
    world.watch(10, ...connections);
    world.connect({ isDeaf: true });
    expect(world.watch(5, ...connections).share).toBeGreaterThan(0.6);
  });

  it("follows a line that becomes faster, and one that becomes slower", () => {
    const world = new World({ ...home });
    const connection = world.connect();
    world.watch(10, connection);
    world.line.bytesPerSecond *= 4;
    world.watch(15, connection);
    expect(world.watch(10, connection).share).toBeGreaterThan(0.9);
    world.line.bytesPerSecond /= 4;
    world.watch(40, connection);
    const { share, queueMs } = world.watch(10, connection);
    expect(share).toBeGreaterThan(0.9);
    expect(queueMs).toBeLessThan(100);
  });

  it.each([60_000, 8 * 3_600_000])(
    "fills the line again at once after this computer was asleep for %i ms, and soon with no more waiting than before",
    (asleepMs) => {
      const world = new World({ ...home });
      const connection = world.connect({ isSmoothed: true });
      world.watch(20, connection);
      world.clock.sleep(asleepMs);
      // What was under way comes at once, and for as long as the line seems the faster for it a little more waits.
      const onWaking = world.watch(20, connection);
      expect(onWaking.share).toBeGreaterThan(0.9);
      expect(onWaking.queueMs).toBeLessThan(200);
      const later = world.watch(20, connection);
      expect(later.share).toBeGreaterThan(0.9);
      expect(later.queueMs).toBeLessThan(120);
    },
  );

  it("says what the line carried while it was full", () => {
    const world = new World({ ...home });
    const connection = world.connect();
    world.watch(10, connection);
    const before = world.busyBytes;
    world.watch(10, connection);
    expect((world.busyBytes - before) / 10 / home.bytesPerSecond).toBeCloseTo(1, 1);
  });

  it("gives no turn to who has called it off", () => {
    const world = new World({ ...home });
    world.watch(1, world.connect());
    const lane = world.window.open({ bytesTransmitted: 0, packetsTransmitted: 0, inflight: 0, rtt: 0 });
    let turns = 0;
    const callOff = world.window.whenOpen(lane, () => {
      turns += 1;
    });
    callOff();
    world.watch(1);
    expect(turns).toBe(0);
  });
});
