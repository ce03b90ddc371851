/**
 * How fast this miner's link to the gateway is, learnt from what passes over it anyway. Bandwidth is the fastest that was seen of late
 * and delay the shortest, as in BBR (Cardwell 2016): everything that disturbs a measurement makes the one smaller and the other
 * longer. Up: marks (WebSocket pings) ride behind the data, and when they come back, all before them has arrived. Only stretches in
 * which data waited for the socket all the time say what the link can do. Down: what the store sends in
 * one go; messages of other miners come as fast as those make them.
 */
import type { LinkReport } from "../../protocol/link-report.ts";
import type { BudgetClock } from "./byte-budget.ts";

/** A measurement counts for so long. */
const memoryMs = 600_000;
/** Between marks, and at least for a measurement: short ones see the buffers on the way and not the link. */
const stretchMs = 250;
const leastBytes = 16 << 10;
/** A pause in what arrives, after which it is another transfer. */
const gapMs = 50;
/** Without data, a mark is sent so often. */
const idleMarkMs = 5000;
/** From so many on, the fastest is left out: once in a while, what waited somewhere arrives all at once. */
const samplesToDoubt = 3;

interface Mark {
  readonly number: number;
  readonly sentBytes: number;
  readonly atMs: number;
  /** Data waited for the socket ever since the mark before. */
  readonly isBusy: boolean;
}

interface Sample {
  readonly value: number;
  readonly atMs: number;
}

export class LinkMeter {
  readonly #clock: Pick<BudgetClock, "nowMs">;
  readonly #up: Sample[] = [];
  readonly #down: Sample[] = [];
  readonly #roundTrips: Sample[] = [];
  #sentBytes = 0;
  #nextMark = 0;
  #marks: Mark[] = [];
  #markedAtMs = Number.NEGATIVE_INFINITY;
  /** Since the last mark. */
  #isBusy = false;
  #returned: { readonly mark: Mark; readonly atMs: number } | null = null;
  #arriving: { readonly sinceMs: number; readonly bytes: number; readonly atMs: number } | null = null;

  constructor(clock: Pick<BudgetClock, "nowMs">) {
    this.#clock = clock;
  }

  get estimate(): LinkReport {
    const nowMs = this.#clock.nowMs();
    for (const samples of [this.#up, this.#down, this.#roundTrips]) forgetBefore(samples, nowMs - memoryMs);
    return {
      upBytesPerSecond: fastest(this.#up),
      downBytesPerSecond: fastest(this.#down),
      roundTripMs: this.#roundTrips.length === 0 ? null : Math.min(...this.#roundTrips.map(({ value }) => value)),
    };
  }

  /** A new connection: marks of the one before do not come back. */
  connected(): void {
    this.#marks = [];
    this.#returned = null;
    this.#markedAtMs = Number.NEGATIVE_INFINITY;
  }

  /** So much was handed to the session's socket; `waited`: behind other data. Returns the mark to send behind it, if one is due. */
  sent(bytes: number, waited: boolean): number | null {
    this.#sentBytes += bytes;
    this.#isBusy &&= waited;
    return this.#mark(stretchMs);
  }

  /** Likewise, when nothing has been sent for a while. */
  idle(): number | null {
    this.#isBusy = false;
    return this.#mark(idleMarkMs);
  }

  /** A mark came back. How long it took, milliseconds; null for one that was not waited for. */
  returned(number: number): number | null {
    const mark = this.#marks.find((sent) => sent.number === number);
    if (mark === undefined) return null;
    const atMs = this.#clock.nowMs();
    this.#marks = this.#marks.filter((sent) => sent.number > number);
    const roundTripMs = atMs - mark.atMs;
    this.#roundTrips.push({ value: roundTripMs, atMs });
    const before = this.#returned;
    this.#returned = { mark, atMs };
    if (before !== null && mark.isBusy) {
      // What came back late came back together: then the time between sending counts (Cardwell 2016, "delivery rate").
      const elapsedMs = Math.max(atMs - before.atMs, mark.atMs - before.mark.atMs);
      this.#measured(this.#up, mark.sentBytes - before.mark.sentBytes, elapsedMs);
    }
    return roundTripMs;
  }

  /** So much was stored over HTTP, and acknowledged, in that time, and nothing but the link held it up. */
  stored(bytes: number, elapsedMs: number): void {
    if (elapsedMs >= 4 * stretchMs) this.#measured(this.#up, bytes, elapsedMs);
  }

  /** So much arrived of what the store had at hand. */
  arrived(bytes: number): void {
    const atMs = this.#clock.nowMs();
    const before = this.#arriving;
    if (before === null || atMs - before.atMs > gapMs) {
      // What lies in the first read came before the stretch.
      this.#arriving = { sinceMs: atMs, bytes: 0, atMs };
      return;
    }
    const sofar = { ...before, bytes: before.bytes + bytes, atMs };
    this.#arriving = sofar;
    if (atMs - sofar.sinceMs < stretchMs) return;
    this.#measured(this.#down, sofar.bytes, atMs - sofar.sinceMs);
    this.#arriving = { sinceMs: atMs, bytes: 0, atMs };
  }

  #mark(everyMs: number): number | null {
    const atMs = this.#clock.nowMs();
    if (atMs - this.#markedAtMs < everyMs) return null;
    const number = this.#nextMark++ % 2 ** 32;
    this.#marks.push({ number, sentBytes: this.#sentBytes, atMs, isBusy: this.#isBusy });
    this.#markedAtMs = atMs;
    this.#isBusy = true;
    return number;
  }

  #measured(samples: Sample[], bytes: number, elapsedMs: number): void {
    if (bytes < leastBytes || elapsedMs < stretchMs / 2) return;
    const atMs = this.#clock.nowMs();
    forgetBefore(samples, atMs - memoryMs);
    samples.push({ value: (bytes / elapsedMs) * 1000, atMs });
  }
}

function fastest(samples: readonly Sample[]): number | null {
  const descending = samples.map(({ value }) => value).sort((a, b) => b - a);
  return descending[descending.length >= samplesToDoubt ? 1 : 0] ?? null;
}

function forgetBefore(samples: Sample[], atMs: number): void {
  const kept = samples.findIndex((sample) => sample.atMs >= atMs);
  samples.splice(0, kept === -1 ? samples.length : kept);
}
