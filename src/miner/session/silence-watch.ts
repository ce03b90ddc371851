/** Asks the other end for a sign of life when nothing has been heard of it, and tells when there is none. */
import type { Clock } from "./clock.ts";

/**
 * After so long without a sign of life the gateway is asked for one. Where a router has forgotten the connection, or has another address
 * now, what answers is a reset: long before silence would tell.
 */
const askMs = 1500;
/** A connection without any sign of life for so long is dead: far longer than what a lossy line needs to send something again. */
export const silenceMs = 15_000;

export interface SilenceHandlers {
  ask(): void;
  /** Nothing is asked or told after that. */
  dead(): void;
}

export class SilenceWatch {
  readonly #clock: Pick<Clock, "after">;
  readonly #handlers: SilenceHandlers;
  #stopTimer: () => void = () => {};

  constructor(clock: Pick<Clock, "after">, handlers: SilenceHandlers) {
    this.#clock = clock;
    this.#handlers = handlers;
    this.#listen(0);
  }

  heard(): void {
    this.#stopTimer();
    this.#listen(0);
  }

  stop(): void {
    this.#stopTimer();
  }

  /** `silentMs`: how long nothing has been heard. */
  #listen(silentMs: number): void {
    this.#stopTimer = this.#clock.after(askMs, () => {
      if (silentMs + askMs >= silenceMs) {
        this.#handlers.dead();
        return;
      }
      this.#handlers.ask();
      this.#listen(silentMs + askMs);
    });
  }
}
