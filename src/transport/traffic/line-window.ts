/**
 * How much may be under way on a line so that it is kept busy and what is urgent does not wait for long: its rate times its delay, and
 * as much again (the window of BBR, Cardwell 2016). Both are learnt from acknowledgements: the rate is the fastest at which anything
 * arrived of late, the delay the shortest. What is sent in spurts says less about the line than it can do, and therefore nothing.
 * Where the line the other way is full, acknowledgements wait in its queue, and say late what has arrived long ago: the other end's clock
 * tells these delays from those of this way, and the window is so much larger.
 */
import type { Acknowledgement } from "../acknowledgement.ts";
import type { BudgetClock } from "./byte-budget.ts";
import { RecentBest } from "./recent-best.ts";

/** A measurement counts for one to two times as long. */
const memoryMs = 300_000;
/** Before anything is known: as TCP begins on a line at home after some round trips. */
const firstBytes = 64 << 10;
/** On a short line acknowledgements come late by more than it takes. */
const leastSlackMs = 50;
/** How late acknowledgements are: the least of this time, or of twice, since a single one may be late by chance. */
const lateMemoryMs = 500;
/** The other end's clock may say anything. */
const mostLateMs = 5000;

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
  /** From the other end's clock to this one's; only differences of these mean anything. */
  readonly #wayBackMs = new RecentBest(memoryMs, Math.min);
  readonly #lateMs = new RecentBest(lateMemoryMs, Math.min);
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
    const lateMs = Math.min(this.#lateMs.best ?? 0, mostLateMs);
    return Math.max(firstBytes, bytesPerMs * (roundTripMs + Math.max(roundTripMs, leastSlackMs) + lateMs));
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
  arrived({ handedBytes, cameAtMs }: Acknowledgement): boolean {
    const mark = this.#marks.find(({ bytes }) => bytes === handedBytes);
    if (mark === undefined) return false;
    this.#marks = this.#marks.filter(({ bytes }) => bytes > handedBytes);
    const arrivedAtMs = this.#clock.nowMs();
    const { bytes, atMs, last } = mark;
    this.#last = { bytes, atMs, arrivedAtMs };
    this.#roundTripMs.measured(arrivedAtMs - atMs, arrivedAtMs);
    if (cameAtMs !== null) {
      const wayBackMs = arrivedAtMs - cameAtMs;
      this.#wayBackMs.measured(wayBackMs, arrivedAtMs);
      this.#lateMs.measured(wayBackMs - (this.#wayBackMs.best ?? wayBackMs), arrivedAtMs);
    }
    // What comes back late comes back together: then the time between handing over counts.
    const elapsedMs = Math.max(arrivedAtMs - last.arrivedAtMs, atMs - last.atMs);
    if (elapsedMs > 0) this.#bytesPerMs.measured((bytes - last.bytes) / elapsedMs, arrivedAtMs);
    return true;
  }
}
