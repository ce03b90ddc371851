/**
 * The parent's end of a compute worker: forks `worker.ts`, matches replies to requests, and turns the worker's death into a
 * typed failure of every call in flight. One host is one process; whoever owns it decides when to start the next.
 */
import { type ChildProcess, fork } from "node:child_process";
import { constants, setPriority } from "node:os";
import { fileURLToPath } from "node:url";
import { FailureError } from "../protocol/failure.ts";
import { computeProcess } from "./compute-process.ts";
import type {
  ComputeArguments,
  ComputeFailure,
  ComputeMethod,
  ComputeReply,
  ComputeRequest,
  ComputeResult,
} from "./worker-protocol.ts";

/** How a worker ended: its exit code, or the signal that killed it. */
export interface WorkerExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ComputeHostOptions {
  /** The worker's entry module. */
  readonly worker?: URL;
  /** Gives way to everything else on this machine. */
  readonly lowPriority?: boolean;
  /** Added to this process's environment. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Where the worker's own standard error goes; by default to this process's. */
  readonly onErrorOutput?: (text: string) => void;
}

interface Outstanding {
  readonly method: ComputeMethod;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class ComputeHost {
  readonly #child: ChildProcess;
  readonly #outstanding = new Map<number, Outstanding>();
  readonly #exited: Promise<WorkerExit>;
  #exit: WorkerExit | null = null;
  #closing = false;
  #nextId = 1;

  constructor(options: ComputeHostOptions = {}) {
    const worker = options.worker ?? new URL("./worker.ts", import.meta.url);
    this.#child = fork(fileURLToPath(worker), [], {
      serialization: "advanced",
      execArgv: [...computeProcess.execArgv],
      env: { ...computeProcess.environment, ...process.env, ...options.environment },
      stdio: ["ignore", "inherit", options.onErrorOutput === undefined ? "inherit" : "pipe", "ipc"],
    });
    this.#child.stderr?.setEncoding("utf8").on("data", options.onErrorOutput ?? (() => undefined));
    if (options.lowPriority && this.#child.pid !== undefined) lowerPriority(this.#child.pid);
    this.#child.on("message", (message) => this.#settle(message as ComputeReply));
    this.#exited = new Promise((resolve) => {
      const end = (exit: WorkerExit, cause?: Error) => {
        if (this.#exit !== null) return;
        this.#exit = exit;
        for (const call of this.#outstanding.values()) call.reject(this.#crashed(call.method, cause));
        this.#outstanding.clear();
        resolve(exit);
      };
      this.#child.on("exit", (code, signal) => end({ code, signal }));
      // Emitted instead of `exit` when the process could not be started at all.
      this.#child.on("error", (cause) => {
        if (this.#child.pid === undefined) end({ code: null, signal: null }, cause);
      });
    });
  }

  /** Undefined when the process could not be started. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Settles when the worker has ended, for whatever reason. */
  get exited(): Promise<WorkerExit> {
    return this.#exited;
  }

  /** Calls `listener` once the worker has ended; not when `close` ended it. */
  onExit(listener: (exit: WorkerExit) => void): void {
    void this.#exited.then((exit) => {
      if (!this.#closing) listener(exit);
    });
  }

  /**
   * Rejects with `FailureError`: compute-crashed when the worker ends before it answers or its device is lost, else
   * compute-non-finite, malformed-message, memory-full and compute-unavailable as the worker reports them; with a plain error when the worker met a bug.
   */
  call<M extends ComputeMethod>(method: M, ...args: ComputeArguments<M>): Promise<ComputeResult<M>> {
    return new Promise((resolve, reject) => {
      if (this.#exit !== null || this.#closing) {
        reject(this.#crashed(method));
        return;
      }
      const request: ComputeRequest<M> = { id: this.#nextId++, method, arguments: args };
      this.#outstanding.set(request.id, {
        method,
        // The worker answers a method with that method's result: the contract of worker-protocol.ts.
        resolve: resolve as (result: unknown) => void,
        reject,
      });
      this.#child.send(request, (error) => {
        if (error === null || !this.#outstanding.delete(request.id)) return;
        reject(this.#crashed(method, error));
      });
    });
  }

  /** Ends the worker at once; calls in flight reject with compute-crashed. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#child.kill("SIGKILL");
    await this.#exited;
  }

  #settle(reply: ComputeReply): void {
    const call = this.#outstanding.get(reply.id);
    if (call === undefined) return;
    this.#outstanding.delete(reply.id);
    if (reply.ok) call.resolve(reply.result);
    else call.reject(errorOf(reply.error));
  }

  #crashed(method: ComputeMethod, cause?: Error): FailureError {
    return new FailureError("compute-crashed", `The compute worker ended before it answered "${method}".`, {
      action: "It is started again; if this repeats, see the log.",
      retry: true,
      cause,
    });
  }
}

function errorOf(failure: ComputeFailure): Error {
  switch (failure.kind) {
    case "non-finite":
      return new FailureError("compute-non-finite", failure.message);
    case "malformed":
      return new FailureError("malformed-message", failure.message);
    case "memory":
      return new FailureError("memory-full", failure.message, {
        action: "Give this machine more memory, or a smaller stage.",
      });
    case "device-lost":
      return new FailureError("compute-crashed", failure.message, {
        action: "It is opened again; if this repeats, update the graphics driver.",
        retry: true,
      });
    case "unavailable":
      return new FailureError("compute-unavailable", failure.message, { action: "Choose the processor." });
    case "bug":
      return new Error(`compute worker: ${failure.message}`);
  }
}

/** Priority is a courtesy: where the system does not allow it, or the process is already gone, work goes on without it. */
function lowerPriority(pid: number): void {
  try {
    setPriority(pid, constants.priority.PRIORITY_LOW);
  } catch (error) {
    process.emitWarning(`could not lower the priority of ${pid}: ${error instanceof Error ? error.message : error}`);
  }
}
