/**
 * How fast something in the background may be sent beside what training sends, through an uplink that both wait for: as fast as it can
 * go without holding up anything for longer than a target. Marks behind the training's data (`link-meter.ts`) tell by how much the
 * round trip is longer than the shortest; the rate grows by additions while that is below the target and is cut by a factor above it.
 * LEDBAT (RFC 6817) with the start, the decrease and the periodic slowdown of LEDBAT++ (Balasubramanian 2020,
 * draft-irtf-iccrg-ledbat-plus-plus), as a rate instead of a window. Unlike there, a share of the link is kept while frames fill it: an
 * upload that never ended would hold up checkpoints, and with them credits.
 */
import { assertNever } from "../../protocol/assert-never.ts";
import { type BudgetClock, ByteBudget } from "./byte-budget.ts";
import type { LinkMeter } from "./link-meter.ts";

/** That of LEDBAT++. */
const targetDelayMs = 60;
/** Nothing is concluded more often; marks do not come more often either. */
const intervalMs = 250;
/** Of the measured link, beside frames that fill it. The orchestrator waits as long as this takes (`core/keeping.ts`). */
const leastShare = 1 / 8;
/** And on any link: less than this is not waited for. */
const leastBytesPerSecond = 64 << 10;
/** So many lead from nothing to the link's rate, as long as nothing else waits. */
const additionsToLink = 16;
/** A rate that is not used says nothing about what it does to the link: as in RFC 6817, it grows to so many times what is used. */
const mostUnused = 2;
/**
 * So often the link is left alone, for so long: what is sent without a pause would count as part of the shortest round trip in the end.
 * And so long after frames have waited for it.
 */
const slowdownEveryMs = 30_000;
const slowdownMs = 500;

type Phase =
  /** Doubles the rate, until the first delay. */
  | { readonly kind: "starting" }
  | { readonly kind: "steady"; readonly sinceMs: number }
  | { readonly kind: "slowed"; readonly sinceMs: number; readonly bytesPerSecondBefore: number };

export class BackgroundPace {
  readonly #clock: BudgetClock;
  readonly #link: Pick<LinkMeter, "estimate">;
  readonly #budget: ByteBudget;
  /** Null: there is nothing to give way to. */
  #sendMark: (() => void) | null = null;
  #phase: Phase = { kind: "starting" };
  /** What the mark before the last one said. */
  #roundTripBeforeMs = Number.POSITIVE_INFINITY;
  /** Since the rate was set. */
  #spentBytes = 0;
  #setAtMs = 0;

  constructor(clock: BudgetClock, link: Pick<LinkMeter, "estimate">) {
    this.#clock = clock;
    this.#link = link;
    this.#budget = new ByteBudget(clock);
  }

  /** Null: without limit. */
  get bytesPerSecond(): number | null {
    return this.#budget.bytesPerSecond;
  }

  /** A session is there to give way to; `sendMark` sends a mark over it, if one is due. */
  sessionOpened(sendMark: () => void): void {
    this.#sendMark = sendMark;
    this.#phase = { kind: "starting" };
    this.#setRate(leastBytesPerSecond);
  }

  sessionClosed(): void {
    this.#sendMark = null;
    this.#budget.setRate(null);
  }

  /** Resolves when it is the caller's turn to send. */
  async turn(): Promise<void> {
    this.#sendMark?.();
    await this.#budget.turn("background");
  }

  spend(bytes: number): void {
    this.#spentBytes += bytes;
    this.#budget.spend(bytes);
  }

  /** Frames have to wait for the line. They go first, which delays tell too late where a router queues nothing. */
  framesWait(): void {
    const rate = this.bytesPerSecond;
    if (rate === null) return;
    const phase = this.#phase;
    const bytesPerSecondBefore = phase.kind === "slowed" ? phase.bytesPerSecondBefore : rate;
    this.#phase = { kind: "slowed", sinceMs: this.#clock.nowMs(), bytesPerSecondBefore };
    if (rate > this.#leastRate) this.#setRate(this.#leastRate);
  }

  /** A mark took so long to come back. Of two the shorter counts: a busy computer keeps single ones waiting (the filter of RFC 6817). */
  measured(lastRoundTripMs: number): void {
    const roundTripMs = Math.min(lastRoundTripMs, this.#roundTripBeforeMs);
    this.#roundTripBeforeMs = lastRoundTripMs;
    const rate = this.bytesPerSecond;
    const nowMs = this.#clock.nowMs();
    // Marks that were sent before the rate was set say nothing about it.
    if (rate === null || nowMs - this.#setAtMs < Math.max(intervalMs, roundTripMs)) return;
    const phase = this.#phase;
    switch (phase.kind) {
      case "starting":
        if (this.#delayOf(roundTripMs) < 3 / 4) this.#setRate(this.#isUsed(rate) ? 2 * rate : rate);
        else this.#steady(rate, roundTripMs);
        break;
      case "steady":
        if (nowMs - phase.sinceMs < slowdownEveryMs) this.#adjust(rate, roundTripMs);
        else {
          this.#phase = { kind: "slowed", sinceMs: nowMs, bytesPerSecondBefore: rate };
          this.#setRate(this.#leastRate);
        }
        break;
      case "slowed":
        if (nowMs - phase.sinceMs >= slowdownMs) this.#steady(phase.bytesPerSecondBefore, roundTripMs);
        break;
      default:
        assertNever(phase);
    }
  }

  #steady(rate: number, roundTripMs: number): void {
    this.#phase = { kind: "steady", sinceMs: this.#clock.nowMs() };
    this.#adjust(rate, roundTripMs);
  }

  #adjust(rate: number, roundTripMs: number): void {
    const delay = this.#delayOf(roundTripMs);
    const addition = ((this.#link.estimate.upBytesPerSecond ?? rate) / additionsToLink) * (1 - delay);
    if (delay > 1) this.#setRate(Math.max(rate / 2, rate * (2 - delay)));
    else this.#setRate(this.#isUsed(rate) ? rate + addition : rate);
  }

  #isUsed(rate: number): boolean {
    const usedBytesPerSecond = (this.#spentBytes / (this.#clock.nowMs() - this.#setAtMs)) * 1000;
    return mostUnused * usedBytesPerSecond >= rate;
  }

  /** What of a round trip others caused, or this, in target delays. */
  #delayOf(roundTripMs: number): number {
    return (roundTripMs - (this.#link.estimate.roundTripMs ?? roundTripMs)) / targetDelayMs;
  }

  get #leastRate(): number {
    return Math.max(leastBytesPerSecond, leastShare * (this.#link.estimate.upBytesPerSecond ?? 0));
  }

  #setRate(bytesPerSecond: number): void {
    this.#budget.setRate(Math.max(this.#leastRate, bytesPerSecond));
    this.#spentBytes = 0;
    this.#setAtMs = this.#clock.nowMs();
  }
}
