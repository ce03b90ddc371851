/** Says something to the network again and again until it is overtaken by events: no single lost message matters then. */
import type { Clock } from "../session/clock.ts";

export class Repetition {
  readonly #clock: Clock;
  #say: (() => void) | null = null;
  #intervalMs = 0;
  #stopTimer = () => {};

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Says it at once, or only later, and then at every interval. */
  begin(say: () => void, intervalMs: number, when: "at-once" | "later" = "at-once"): void {
    this.#say = say;
    this.#intervalMs = intervalMs;
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
    if (this.#say !== null) this.#stopTimer = this.#clock.after(this.#intervalMs, () => this.again());
  }

  end(): void {
    this.#say = null;
    this.#stopTimer();
  }
}
