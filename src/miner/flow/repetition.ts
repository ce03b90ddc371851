/** Says something to the network again and again until it is overtaken by events: no single lost message matters then. */
import type { Clock } from "../session/clock.ts";

/** Between two times: the first pause, doubled again and again up to the longest. */
export interface Pauses {
  readonly firstMs: number;
  readonly longestMs: number;
}

export class Repetition {
  readonly #clock: Clock;
  #say: (() => void) | null = null;
  #pauseMs = 0;
  #longestMs = 0;
  #stopTimer = () => {};

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Says it at once, or only after the first pause, and then again after each. */
  begin(say: () => void, { firstMs, longestMs }: Pauses, when: "at-once" | "later" = "at-once"): void {
    this.#say = say;
    this.#pauseMs = firstMs;
    this.#longestMs = longestMs;
    if (when === "at-once") this.again();
    else this.#wait();
  }

  /** Says it out of turn, if there is something to say. */
  again(): void {
    this.#say?.();
    this.#wait();
  }

  #wait(): void {
    this.#stopTimer();
    if (this.#say === null) return;
    this.#stopTimer = this.#clock.after(this.#pauseMs, () => this.again());
    this.#pauseMs = Math.min(this.#longestMs, 2 * this.#pauseMs);
  }

  end(): void {
    this.#say = null;
    this.#stopTimer();
  }
}
