/**
 * How fast direct connections together carry data away: what their line carried while more of it was always waiting. It is this miner's line
 * that they share, and most of what is sent goes over them, so that the session's own marks (`link-meter.ts`) see little of it.
 */
import type { BudgetClock } from "../traffic/byte-budget.ts";

/** What one measurement takes at least: shorter ones see buffers on the way. */
const stretchMs = 1000;

export class UplinkMeter {
  readonly #clock: Pick<BudgetClock, "nowMs">;
  readonly #measured: (bytes: number, elapsedMs: number) => void;
  #stretch: { readonly sinceMs: number; bytes: number } | null = null;

  /** `measured`: so much was sent, and has arrived, in that time. */
  constructor(clock: Pick<BudgetClock, "nowMs">, measured: (bytes: number, elapsedMs: number) => void) {
    this.#clock = clock;
    this.#measured = measured;
  }

  /** So much was carried, of all of them. `isBusy`: more waited all the while. */
  carried(bytes: number, isBusy: boolean): void {
    const nowMs = this.#clock.nowMs();
    const stretch = this.#stretch;
    if (!isBusy) this.#stretch = null;
    else if (stretch === null) this.#stretch = { sinceMs: nowMs, bytes: 0 };
    else {
      stretch.bytes += bytes;
      const elapsedMs = nowMs - stretch.sinceMs;
      if (elapsedMs < stretchMs) return;
      this.#measured(stretch.bytes, elapsedMs);
      this.#stretch = { sinceMs: nowMs, bytes: 0 };
    }
  }
}
