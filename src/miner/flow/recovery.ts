/** What becomes of a replica that failed: it tries again after growing pauses, and stops when that has not helped. */
import { type Failure, failureOf } from "../../protocol/failure.ts";
import type { Clock } from "../session/clock.ts";

/** Before the second, third … attempt; after the last there is none, unless the trouble lies outside this machine. */
const pausesMs = [0, 1000, 2000, 5000, 10_000] as const;
const longestPauseMs = 10_000;

export class Recovery {
  readonly #clock: Clock;
  #failuresInRow = 0;
  /** What came meanwhile and is done when the pause is over. */
  #postponed: (() => void) | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The count starts over. */
  succeeded(): void {
    this.#failuresInRow = 0;
  }

  /** Calls `resume` after a pause, unless `signal` is aborted; false when it has failed too often for that. */
  begin(failure: Failure, signal: AbortSignal, resume: (postponed: (() => void) | null) => void): boolean {
    const pauseMs = pausesMs[this.#failuresInRow] ?? (failure.code === "unreachable" ? longestPauseMs : undefined);
    this.#failuresInRow += 1;
    this.#postponed = null;
    if (pauseMs === undefined) return false;
    const cancel = this.#clock.after(pauseMs, () => resume(this.#postponed));
    signal.addEventListener("abort", cancel, { once: true });
    return true;
  }

  postpone(action: () => void): void {
    this.#postponed = action;
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
