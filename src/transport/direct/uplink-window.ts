/**
 * How much all direct connections together may have on its way, so that they fill this miner's line and no queue in front of it. UDX
 * would: its BBR takes the line for up to half again as fast as it is, each connection for itself, and what then finds no room in the
 * router is sent again. As in BBR (Cardwell 2016) the window is what the line carries at best in the shortest round trip, and a little
 * more, which finds out whether it carries more; but it is one for all connections, and loss does not narrow it. UDX counts, and says
 * nothing when a count changes, so that whoever waits looks every now and then.
 */
import type { BudgetClock } from "../traffic/byte-budget.ts";
import { RecentBest } from "../traffic/recent-best.ts";
import { chunkBytesAt } from "../traffic/traffic.ts";
import { type LaneCounters, UplinkLane } from "./uplink-lane.ts";

/** Before anything is measured. */
const firstWindowBytes = 64 << 10;
const leastWindowBytes = 32 << 10;
/**
 * Beyond the shortest round trip: what waits in the router, where acknowledgements come at once. They do not where the peer's line is as
 * full as this one, or a computer is busy; with half as much two homes that send to each other filled two thirds of their lines.
 */
const aheadMs = 50;
const aheadShare = 1 / 8;
/** At first the window grows by half of what is carried, until round trips are so much longer than the shortest. */
const delayToSteadyMs = 75;
/** And again when nothing waits in the router although the window is full: the line has become faster. */
const leastDelayMs = 25;
/** What is measured of the line counts for so long, and once more. */
const memoryMs = 10_000;
/** Between measurements of the rate at least: short ones see what arrives together. */
const stretchMs = 400;
const lookMs = 10;
/** How long less than the line carries is under way: two round trips, and what waited in the router. */
const restRoundTrips = 2;
const restMs = 50;

interface Stretch {
  readonly sinceMs: number;
  bytes: number;
  /** Times the milliseconds by which their round trips were longer than the shortest. */
  delayedBytes: number;
}

interface Waiting {
  readonly lane: UplinkLane;
  readonly action: () => void;
}

export class UplinkWindow {
  readonly #clock: BudgetClock;
  readonly #carried: (bytes: number, isFull: boolean) => void;
  readonly #lanes = new Set<UplinkLane>();
  readonly #waiting: Waiting[] = [];
  readonly #rate = new RecentBest(memoryMs, Math.max);
  #phase: "starting" | "steady" = "starting";
  #startBytes = firstWindowBytes;
  /** In which somebody waits all the time. */
  #stretch: Stretch | null = null;
  /** When nothing was under way, or so little for so long that nothing waited in the router. */
  #emptyAtMs: number;
  /** Since when nobody waits; null: somebody does. */
  #lullSinceMs: number | null;
  #cancelLook: (() => void) | null = null;

  /** `carried`: so much was since the last call; `isFull`: while more waited, since then. */
  constructor(clock: BudgetClock, carried: (bytes: number, isFull: boolean) => void) {
    this.#clock = clock;
    this.#carried = carried;
    this.#emptyAtMs = clock.nowMs();
    this.#lullSinceMs = clock.nowMs();
  }

  /** Another connection, with what UDX counts of it. */
  open(counters: LaneCounters): UplinkLane {
    const lane = new UplinkLane(counters, { periodMs: memoryMs, nowMs: () => this.#clock.nowMs() });
    this.#lanes.add(lane);
    return lane;
  }

  /** It ends; what is under way on it is nobody's any more. */
  close(lane: UplinkLane): void {
    this.#lanes.delete(lane);
  }

  /** How much to send in one piece, so that it holds up nothing more urgent for long. */
  get chunkBytes(): number {
    return chunkBytesAt(this.#rate.best ?? 0);
  }

  /** What may be under way. */
  get bytes(): number {
    const rate = this.#rate.best;
    if (this.#phase === "starting" || rate === null) return this.#startBytes;
    const roundTripMs = this.#roundTripMs;
    // Without a rest now and then, the shortest round trip would in time be one with a queue.
    if (this.#clock.nowMs() - this.#emptyAtMs > memoryMs) return ((rate / 1000) * roundTripMs) / 2;
    return Math.max(leastWindowBytes, (rate / 1000) * (roundTripMs + Math.max(aheadMs, aheadShare * roundTripMs)));
  }

  /** Whether a connection may send something: while all together have room, and up to its share although others leave none. */
  isOpen(lane: UplinkLane): boolean {
    for (const one of this.#lanes) one.look();
    if (lane.bytes === 0) return true;
    const windowBytes = this.bytes;
    return this.#bytesUnderWay < windowBytes || lane.bytes + this.chunkBytes <= windowBytes / this.#lanesInUse;
  }

  /** Calls `action` once, when it is this connection's turn. Returns what calls it off. */
  whenOpen(lane: UplinkLane, action: () => void): () => void {
    // A socket waits for its stream between any two chunks.
    if (this.#lullSinceMs !== null && this.#clock.nowMs() - this.#lullSinceMs > lookMs) this.#stretch = null;
    this.#lullSinceMs = null;
    const waiting = { lane, action };
    this.#waiting.push(waiting);
    this.#lookSoon();
    return () => {
      const index = this.#waiting.indexOf(waiting);
      if (index >= 0) this.#waiting.splice(index, 1);
    };
  }

  /** So much is handed to a connection. */
  sends(lane: UplinkLane, bytes: number): void {
    if (this.#bytesUnderWay === 0) this.#emptyAtMs = this.#clock.nowMs();
    lane.wrote(bytes);
  }

  #lookSoon(): void {
    this.#cancelLook ??= this.#clock.after(lookMs, () => {
      this.#cancelLook = null;
      this.#measure();
      this.#wake();
    });
  }

  /** A turn at a time, as each may use up what there is. Who has least under way is next: what one peer does not take holds up no other. */
  #wake(): void {
    for (;;) {
      const ready = this.#waiting.filter(({ lane }) => this.isOpen(lane));
      const [next] = ready.sort((one, other) => one.lane.bytes - other.lane.bytes);
      if (next === undefined) break;
      this.#waiting.splice(this.#waiting.indexOf(next), 1);
      next.action();
    }
    if (this.#waiting.length > 0) this.#lookSoon();
    else this.#lullSinceMs = this.#clock.nowMs();
  }

  #measure(): void {
    const nowMs = this.#clock.nowMs();
    let bytes = 0;
    let delayMs = Number.POSITIVE_INFINITY;
    for (const lane of this.#lanes) {
      const carriedBytes = lane.takeCarried();
      bytes += carriedBytes;
      // What delays one connection alone is not this miner's line.
      if (carriedBytes > 0) delayMs = Math.min(delayMs, lane.delayMs);
    }
    this.#carried(bytes, this.#stretch !== null);
    this.#stretch ??= { sinceMs: nowMs, bytes: -bytes, delayedBytes: 0 };
    this.#stretch.bytes += bytes;
    if (bytes > 0) this.#stretch.delayedBytes += bytes * delayMs;
    if (nowMs - this.#stretch.sinceMs >= stretchMs) {
      this.#conclude(this.#stretch);
      this.#stretch = { sinceMs: nowMs, bytes: 0, delayedBytes: 0 };
    }
    if (nowMs - this.#emptyAtMs > memoryMs + restMs + restRoundTrips * this.#roundTripMs) this.#emptyAtMs = nowMs;
    if (delayMs <= delayToSteadyMs) this.#startBytes += bytes / 2;
    else if (bytes > 0 && this.#rate.best !== null) this.#phase = "steady";
  }

  #conclude({ sinceMs, bytes, delayedBytes }: Stretch): void {
    const nowMs = this.#clock.nowMs();
    this.#rate.measured((bytes / (nowMs - sinceMs)) * 1000, nowMs);
    const isLineFull = delayedBytes >= bytes * leastDelayMs || sinceMs < this.#emptyAtMs;
    if (isLineFull || this.#phase === "starting") return;
    this.#startBytes = this.bytes;
    this.#phase = "starting";
  }

  get #bytesUnderWay(): number {
    let sum = 0;
    for (const { bytes } of this.#lanes) sum += bytes;
    return sum;
  }

  /** The shortest ones, as much as each counts by what is under way. */
  get #roundTripMs(): number {
    let sum = 0;
    let measuredBytes = 0;
    for (const { bytes, shortestRoundTripMs } of this.#lanes) {
      if (shortestRoundTripMs === null) continue;
      sum += bytes * shortestRoundTripMs;
      measuredBytes += bytes;
    }
    return sum / Math.max(1, measuredBytes);
  }

  get #lanesInUse(): number {
    let count = 0;
    for (const lane of this.#lanes)
      if (lane.isInUse || this.#waiting.some((waiting) => waiting.lane === lane)) count += 1;
    return count;
  }
}
