/**
 * How much may be under way on a line so that it is kept busy and what is urgent does not wait for long: its rate times its delay, and
 * as much again (the window of BBR, Cardwell 2016). Both are learnt from acknowledgements: the rate is the fastest at which anything
 * arrived of late, the delay the shortest. What is sent in spurts says less about the line than it can do, and therefore nothing.
 */
import type { BudgetClock } from "./byte-budget.ts";
import { RecentBest } from "./recent-best.ts";

/** A measurement counts for one to two times as long. */
const memoryMs = 300_000;
/** Before anything is known: as TCP begins on a line at home after some round trips. */
const firstBytes = 64 << 10;
/** On a short line acknowledgements come late by more than it takes. */
const leastSlackMs = 50;

/** When so much had been handed over, and how far the line was by then. */
interface Mark {
  readonly handedBytes: number;
  readonly atMs: number;
  readonly arrivedBytes: number;
  readonly arrivedAtMs: number;
}

export class LineWindow {
  readonly #clock: Pick<BudgetClock, "nowMs">;
  readonly #bytesPerMs = new RecentBest(memoryMs, Math.max);
  readonly #roundTripMs = new RecentBest(memoryMs, Math.min);
  #marks: Mark[] = [];
  #arrived: { readonly bytes: number; readonly atMs: number };

  constructor(clock: Pick<BudgetClock, "nowMs">) {
    this.#clock = clock;
    this.#arrived = { bytes: 0, atMs: clock.nowMs() };
  }

  get bytes(): number {
    const { best: bytesPerMs } = this.#bytesPerMs;
    const { best: roundTripMs } = this.#roundTripMs;
    if (bytesPerMs === null || roundTripMs === null) return firstBytes;
    return Math.max(firstBytes, bytesPerMs * (roundTripMs + Math.max(roundTripMs, leastSlackMs)));
  }

  get arrivedBytes(): number {
    return this.#arrived.bytes;
  }

  /** So much has been handed to the line since the beginning; its arrival will be acknowledged. */
  mark(handedBytes: number): void {
    const { bytes: arrivedBytes, atMs: arrivedAtMs } = this.#arrived;
    const atMs = this.#clock.nowMs();
    // After a pause, the pause does not count.
    const isIdle = this.#marks.length === 0;
    this.#marks.push({ handedBytes, atMs, arrivedBytes, arrivedAtMs: isIdle ? atMs : arrivedAtMs });
  }

  /** So much has arrived. False: nobody asked about that. */
  arrived(handedBytes: number): boolean {
    const mark = this.#marks.find((made) => made.handedBytes === handedBytes);
    if (mark === undefined) return false;
    this.#marks = this.#marks.filter((made) => made.handedBytes > handedBytes);
    const atMs = this.#clock.nowMs();
    this.#arrived = { bytes: handedBytes, atMs };
    this.#roundTripMs.measured(atMs - mark.atMs, atMs);
    if (atMs > mark.arrivedAtMs)
      this.#bytesPerMs.measured((handedBytes - mark.arrivedBytes) / (atMs - mark.arrivedAtMs), atMs);
    return true;
  }
}
