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

/** When so much had been handed over. */
interface Handed {
  readonly bytes: number;
  readonly atMs: number;
}

/** One whose arrival will be acknowledged. `last`: the one that had been acknowledged last by then, and when it was. */
interface Mark extends Handed {
  readonly last: Handed & { readonly arrivedAtMs: number };
}

export class LineWindow {
  readonly #clock: Pick<BudgetClock, "nowMs">;
  readonly #bytesPerMs = new RecentBest(memoryMs, Math.max);
  readonly #roundTripMs = new RecentBest(memoryMs, Math.min);
  #marks: Mark[] = [];
  #last: Mark["last"];

  constructor(clock: Pick<BudgetClock, "nowMs">) {
    this.#clock = clock;
    this.#last = { bytes: 0, atMs: clock.nowMs(), arrivedAtMs: clock.nowMs() };
  }

  get bytes(): number {
    const { best: bytesPerMs } = this.#bytesPerMs;
    const { best: roundTripMs } = this.#roundTripMs;
    if (bytesPerMs === null || roundTripMs === null) return firstBytes;
    return Math.max(firstBytes, bytesPerMs * (roundTripMs + Math.max(roundTripMs, leastSlackMs)));
  }

  get arrivedBytes(): number {
    return this.#last.bytes;
  }

  /** So much has been handed to the line since the beginning; its arrival will be acknowledged. */
  mark(handedBytes: number): void {
    const atMs = this.#clock.nowMs();
    // After a pause, the pause does not count.
    if (this.#marks.length === 0) this.#last = { ...this.#last, atMs, arrivedAtMs: atMs };
    this.#marks.push({ bytes: handedBytes, atMs, last: this.#last });
  }

  /** So much will have arrived, although nothing says so: nothing is learnt from it. */
  presume(handedBytes: number): void {
    const nowMs = this.#clock.nowMs();
    this.#marks = this.#marks.filter(({ bytes }) => bytes > handedBytes);
    if (handedBytes > this.#last.bytes) this.#last = { bytes: handedBytes, atMs: nowMs, arrivedAtMs: nowMs };
  }

  /** So much has arrived. False: nobody asked about that. */
  arrived(handedBytes: number): boolean {
    const mark = this.#marks.find(({ bytes }) => bytes === handedBytes);
    if (mark === undefined) return false;
    this.#marks = this.#marks.filter(({ bytes }) => bytes > handedBytes);
    const arrivedAtMs = this.#clock.nowMs();
    const { bytes, atMs, last } = mark;
    this.#last = { bytes, atMs, arrivedAtMs };
    this.#roundTripMs.measured(arrivedAtMs - atMs, arrivedAtMs);
    // What comes back late comes back together: then the time between handing over counts.
    const elapsedMs = Math.max(arrivedAtMs - last.arrivedAtMs, atMs - last.atMs);
    if (elapsedMs > 0) this.#bytesPerMs.measured((bytes - last.bytes) / elapsedMs, arrivedAtMs);
    return true;
  }
}
