/**
 * What waits for the compute worker during one epoch. The worker takes one call at a time; steps come first, then backward
 * passes, which free memory here and waiting elsewhere, then forward passes.
 */
import type { ComputeArguments, ComputeMethod, ComputeResult } from "../../compute/worker-protocol.ts";
import { FailureError, failureOf } from "../../protocol/failure.ts";
import type { ComputeEngine } from "../compute-host/compute-worker.ts";

const priorities = ["step", "backward", "forward"] as const;
export type Priority = (typeof priorities)[number];

/** One bad batch may happen; so many in a row mean that this replica has gone astray. */
const maxNonFiniteInRow = 3;

interface Waiting {
  readonly start: () => Promise<void>;
  readonly cancel: () => void;
}

export class ComputeQueue {
  readonly #engine: ComputeEngine;
  readonly #signal: AbortSignal;
  readonly #nowMs: () => number;
  readonly #waiting: Record<Priority, Waiting[]> = { step: [], backward: [], forward: [] };
  #busy = false;
  #nonFiniteInRow = 0;
  #busyMs = 0;

  /** When `signal` is aborted, what waits is cancelled. */
  constructor(engine: ComputeEngine, signal: AbortSignal, nowMs: () => number) {
    this.#engine = engine;
    this.#nowMs = nowMs;
    this.#signal = signal;
    signal.addEventListener("abort", () => this.#cancelAll(), { once: true });
  }

  /** How long the worker was at it. */
  get busyMs(): number {
    return this.#busyMs;
  }

  /** Rejects as the engine does, and with `cancelled`. */
  run<M extends ComputeMethod>(priority: Priority, method: M, ...args: ComputeArguments<M>): Promise<ComputeResult<M>> {
    if (this.#signal.aborted) return Promise.reject(cancelled());
    return new Promise((resolve, reject) => {
      this.#waiting[priority].push({
        start: () => this.#engine.call(method, ...args).then(resolve, reject),
        cancel: () => reject(cancelled()),
      });
      this.#next();
    });
  }

  /**
   * As `run`, for what may be left out: null when numbers were not finite, so that the microbatch is dropped or the step
   * skipped, when a payload was none, and when there is no room for another microbatch in flight. Rejects with compute-non-finite
   * when that repeats.
   */
  async attempt<M extends ComputeMethod>(
    priority: Priority,
    method: M,
    ...args: ComputeArguments<M>
  ): Promise<ComputeResult<M> | null> {
    try {
      const result = await this.run(priority, method, ...args);
      this.#nonFiniteInRow = 0;
      return result;
    } catch (error) {
      const code = failureOf(error)?.code;
      if ((code === "memory-full" && method === "forward") || code === "malformed-message") return null;
      if (code !== "compute-non-finite") throw error;
      this.#nonFiniteInRow += 1;
      if (this.#nonFiniteInRow >= maxNonFiniteInRow) throw error;
      return null;
    }
  }

  #next(): void {
    if (this.#busy) return;
    const queue = priorities.map((priority) => this.#waiting[priority]).find((waiting) => waiting.length > 0);
    const first = queue?.shift();
    if (first === undefined) return;
    this.#busy = true;
    const beganAtMs = this.#nowMs();
    void first.start().finally(() => {
      this.#busy = false;
      this.#busyMs += Math.max(0, this.#nowMs() - beganAtMs);
      this.#next();
    });
  }

  #cancelAll(): void {
    for (const priority of priorities) for (const waiting of this.#waiting[priority].splice(0)) waiting.cancel();
  }
}

function cancelled(): FailureError {
  return new FailureError("cancelled", "The epoch has ended.");
}
