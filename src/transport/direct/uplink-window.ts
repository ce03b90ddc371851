/**
 * How much all direct connections together may have on its way, so that they fill this miner's line and no queue in front of it. UDX
 * would: its BBR takes the line for up to half again as fast as it is, each connection for itself, and what then finds no room in the
 * router is sent again. As in BBR (Cardwell 2016) the window is what the line carries at best in the shortest round trip, and a little
 * more, which finds out whether it carries more; but it is one for all connections, and loss does not narrow it. UDX counts, and says
 * nothing when a count changes, so that whoever waits looks every now and then.
 */
import type { BudgetClock } from "../traffic/byte-budget.ts";
import { chunkBytesAt } from "../traffic/traffic.ts";
import { RecentBest } from "./recent-best.ts";
import { type LaneCounters, UplinkLane } from "./uplink-lane.ts";

/** Before anything is measured. */
const firstWindowBytes = 64 << 10;
const leastWindowBytes = 32 << 10;
/** Beyond the shortest round trip: what waits in the router at most. At least a few turns of the clock, so that the line never runs dry. */
const aheadMs = 25;
const aheadShare = 1 / 8;
/** At first the window grows by half of what is carried, until round trips are so much longer than the shortest. */
const delayToSteadyMs = 50;
/** What is measured of the line counts for so long, and once more. */
const memoryMs = 10_000;
/** Between measurements of the rate at least: short ones see what arrives together. */
const stretchMs = 400;
const lookMs = 10;

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
  #stretch: { readonly sinceMs: number; bytes: number } | null = null;
  /** When so little was under way that nothing can have waited in the router. */
  #emptyAtMs: number;
  /** When the last one got its turn. */
  #lullAtMs = 0;
  #cancelLook: (() => void) | null = null;

  /** `carried`: so much was since the last call; `isFull`: while more waited, since then. */
  constructor(clock: BudgetClock, carried: (bytes: number, isFull: boolean) => void) {
    this.#clock = clock;
    this.#carried = carried;
    this.#emptyAtMs = clock.nowMs();
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
    if (this.#clock.nowMs() - this.#emptyAtMs > memoryMs) return this.#restBytes;
    return Math.max(leastWindowBytes, (rate / 1000) * (roundTripMs + Math.max(aheadMs, aheadShare * roundTripMs)));
  }

  /** Whether a connection may send something: while all together have room, and up to its share although others leave none. */
  isOpen(lane: UplinkLane): boolean {
    for (const lane of this.#lanes) lane.look();
    if (lane.bytes === 0) return true;
    const windowBytes = this.bytes;
    return this.#bytesUnderWay < windowBytes || lane.bytes < windowBytes / this.#lanesInUse;
  }

  /** Calls `action` once, when it is this connection's turn. Returns what calls it off. */
  whenOpen(lane: UplinkLane, action: () => void): () => void {
    if (this.#waiting.length === 0 && this.#clock.nowMs() - this.#lullAtMs > lookMs) this.#stretch = null;
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
    if (this.#bytesUnderWay <= this.#restBytes) this.#emptyAtMs = this.#clock.nowMs();
    lane.wrote(bytes);
  }

  #lookSoon(): void {
    this.#cancelLook ??= this.#clock.after(lookMs, () => {
      this.#cancelLook = null;
      this.#measure();
      this.#wake();
    });
  }

  /** Whoever has waited longest of those who may. Each turn may use up what there is. */
  #wake(): void {
    for (;;) {
      const index = this.#waiting.findIndex(({ lane }) => this.isOpen(lane));
      if (index < 0) break;
      const [next] = this.#waiting.splice(index, 1);
      next?.action();
    }
    if (this.#waiting.length > 0) this.#lookSoon();
    else this.#lullAtMs = this.#clock.nowMs();
  }

  #measure(): void {
    const nowMs = this.#clock.nowMs();
    let bytes = 0;
    for (const lane of this.#lanes) bytes += lane.takeCarried();
    this.#carried(bytes, this.#stretch !== null);
    const stretch = this.#stretch ?? { sinceMs: nowMs, bytes: -bytes };
    stretch.bytes += bytes;
    this.#stretch = stretch;
    const elapsedMs = nowMs - stretch.sinceMs;
    if (elapsedMs >= stretchMs) {
      this.#rate.measured((stretch.bytes / elapsedMs) * 1000, nowMs);
      this.#stretch = { sinceMs: nowMs, bytes: 0 };
    }
    if (this.#phase === "starting") this.#start(bytes);
  }

  #start(bytes: number): void {
    const delays = [...this.#lanes].filter(({ isInUse }) => isInUse).map(({ delayMs }) => delayMs);
    // What delays one of them alone is not this miner's line.
    if (Math.min(...delays) <= delayToSteadyMs) this.#startBytes += bytes / 2;
    else if (this.#rate.best !== null) this.#phase = "steady";
  }

  get #bytesUnderWay(): number {
    let sum = 0;
    for (const { bytes } of this.#lanes) sum += bytes;
    return sum;
  }

  /** The shortest ones, as much as each counts by what is under way. */
  get #roundTripMs(): number {
    let sum = 0;
    for (const { bytes, shortestRoundTripMs } of this.#lanes) sum += bytes * shortestRoundTripMs;
    return sum / Math.max(1, this.#bytesUnderWay);
  }

  /** Half of what is under way on the line alone. */
  get #restBytes(): number {
    return ((this.#rate.best ?? 0) / 1000) * (this.#roundTripMs / 2);
  }

  get #lanesInUse(): number {
    let count = 0;
    for (const lane of this.#lanes)
      if (lane.isInUse || this.#waiting.some((waiting) => waiting.lane === lane)) count += 1;
    return Math.max(1, count);
  }
}
