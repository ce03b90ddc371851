/** What becomes of a miner whose replica failed: it tries again after growing pauses, and stops when that has not helped. */
import { type Failure, failureOf } from "../../protocol/failure.ts";
import type { Clock } from "../session/clock.ts";

/** Before the next attempt, by failures in a row; after the last there is none, unless the trouble lies outside this machine. */
const pausesMs = [0, 5000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000] as const;
const longestPauseMs = 300_000;

export class Recovery {
  readonly #clock: Clock;
  #failuresInRow = 0;
  #isPausing = false;
  #stopPause = () => {};

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get isPausing(): boolean {
    return this.#isPausing;
  }

  /** The count starts over. */
  succeeded(): void {
    this.#failuresInRow = 0;
  }

  /** Calls `resume` after a pause with jitter, a quarter more or less; false when it has failed too often for that. */
  begin(failure: Failure, resume: () => void): boolean {
    const pauseMs = pausesMs[this.#failuresInRow] ?? (failure.code === "unreachable" ? longestPauseMs : undefined);
    this.#failuresInRow += 1;
    this.cancel();
    if (pauseMs === undefined) return false;
    this.#isPausing = true;
    this.#stopPause = this.#clock.after(pauseMs * (0.75 + 0.5 * this.#clock.random()), () => {
      this.#isPausing = false;
      resume();
    });
    return true;
  }

  /** Ends a pause without resuming. */
  cancel(): void {
    this.#isPausing = false;
    this.#stopPause();
  }
}

export function crash(message: string): Failure {
  return { code: "compute-crashed", message, action: "It is started again.", retry: true };
}

/** An error as a failure. A bug, here or in the worker, is met like a crash: with a new worker. */
export function failureFrom(error: unknown): Failure {
  const failure = failureOf(error);
  if (failure !== undefined) return failure;
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { code: "compute-crashed", message: text.slice(0, 1500), action: "Please report this.", retry: true };
}
