/**
 * Notices that this computer was asleep, or this process stopped: what is due every few seconds did not happen for long. Linux's clock
 * stands still while the computer sleeps, so that there only the latter is noticed.
 */
import type { Failure } from "../../protocol/failure.ts";

/** Why sessions end then: their clients have given them up meanwhile, and what these said last is of before. */
export const slept: Failure = {
  code: "unreachable",
  message: "The network's computer was asleep, or stopped, for a while.",
  action: "",
  retry: true,
};

export class Wakefulness {
  readonly #mostMs: number;
  readonly #clock: () => number;
  #lookedAtMs: number;

  /** `mostMs`: between two looks of a computer that is awake. */
  constructor(mostMs: number, clock: () => number) {
    this.#mostMs = mostMs;
    this.#clock = clock;
    this.#lookedAtMs = clock();
  }

  /** Whether it was awake all the time since it looked last. */
  look(): boolean {
    const sinceMs = this.#lookedAtMs;
    this.#lookedAtMs = this.#clock();
    return this.#lookedAtMs - sinceMs <= this.#mostMs;
  }
}
