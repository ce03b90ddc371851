/**
 * The miner's compute worker: a child process that is started when it is first needed, and again after it ended. When to try
 * again, and when to give up, is decided in `../flow`.
 */
import { ComputeHost, type WorkerExit } from "../../compute/host.ts";
import type { ComputeArguments, ComputeMethod, ComputeResult } from "../../compute/worker-protocol.ts";

/** What training needs of a compute worker. */
export interface ComputeEngine {
  /** Rejects with `FailureError`: compute-crashed, compute-non-finite, memory-full; with a plain error when the worker met a bug. */
  call<M extends ComputeMethod>(method: M, ...args: ComputeArguments<M>): Promise<ComputeResult<M>>;
}

/** Where engines come from. */
export interface EngineSource {
  /** The live engine, or a new one: an engine that is not the one of before holds nothing. */
  engine(): ComputeEngine;
  /** Ends the live engine, so that the next one starts clean. */
  discard(): void;
  /** Called when an engine ended by itself, even while nobody waits for an answer. */
  onCrash(handler: (explanation: string) => void): void;
  /** Ends the live engine; there will be no other. */
  close(): Promise<void>;
  /** Process ids of the live engine, if it is a process. */
  readonly pids: readonly number[];
}

export class ComputeWorker implements EngineSource {
  readonly #log: (text: string) => void;
  #host: ComputeHost | null = null;
  #onCrash: (explanation: string) => void = () => {};
  #closed = false;

  /** `log` gets what workers write to their standard error. */
  constructor(log: (text: string) => void) {
    this.#log = log;
  }

  get pids(): readonly number[] {
    return this.#host?.pid === undefined ? [] : [this.#host.pid];
  }

  onCrash(handler: (explanation: string) => void): void {
    this.#onCrash = handler;
  }

  engine(): ComputeEngine {
    if (this.#closed) throw new Error("the compute worker is closed for good");
    if (this.#host !== null) return this.#host;
    const host = new ComputeHost({ lowPriority: true, onErrorOutput: (text) => this.#log(text.trimEnd()) });
    host.onExit((exit) => {
      if (this.#host === host) this.#host = null;
      this.#onCrash(describeExit(exit));
    });
    this.#host = host;
    return host;
  }

  discard(): void {
    void this.#host?.close();
    this.#host = null;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#host?.close();
    this.#host = null;
  }
}

function describeExit({ code, signal }: WorkerExit): string {
  if (signal !== null) return `The compute worker was ended by ${signal}.`;
  return code === null
    ? "The compute worker could not be started."
    : `The compute worker ended with exit code ${code}.`;
}
