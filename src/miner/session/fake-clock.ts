/** For tests: time that passes only when it is told to, and chance that comes from a seed, or without one is always the middle. */
import type { Clock } from "./clock.ts";

export class FakeClock implements Clock {
  #nowMs = 0;
  #seed: number | null;
  readonly #alarms = new Set<{ readonly atMs: number; readonly action: () => void }>();

  constructor(seed: number | null = null) {
    this.#seed = seed;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  random(): number {
    if (this.#seed === null) return 0.5;
    // A linear congruential generator (Knuth 1997, section 3.3.4).
    this.#seed = (Math.imul(this.#seed, 1_664_525) + 1_013_904_223) >>> 0;
    return this.#seed / 2 ** 32;
  }

  after(delayMs: number, action: () => void): () => void {
    const alarm = { atMs: this.#nowMs + delayMs, action };
    this.#alarms.add(alarm);
    return () => this.#alarms.delete(alarm);
  }

  /** As on a computer that is asleep: what is due meanwhile happens late, when time goes on. */
  sleep(byMs: number): void {
    this.#nowMs += byMs;
  }

  advance(byMs: number): void {
    const untilMs = this.#nowMs + byMs;
    for (;;) {
      const [next] = [...this.#alarms].filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs);
      if (next === undefined) break;
      this.#alarms.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.action();
    }
    this.#nowMs = untilMs;
  }
}
