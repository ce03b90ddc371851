/**
 * One process of the local network, kept alive: when it dies it is started again, after a growing pause. It is asked to stop by
 * closing its channel, which works the same on every platform and also when this process is killed.
 */
import { type ChildProcess, fork } from "node:child_process";
import { maxLogFileBytes, rotatingFile } from "../../miner/log.ts";
import { FailureError } from "../../protocol/failure.ts";
import type { ProcessView } from "../../protocol/machine-view.ts";
import { type ChildMessage, childMessageSchema, type ParentMessage } from "../process-messages.ts";

const firstRestartMs = 500;
const longestRestartMs = 8_000;
/** Having lived so long, a process starts anew with the shortest pause. */
const steadyMs = 60_000;
/** Dying so often in a row without ever being steady, it is given up. */
const maxQuickDeaths = 8;

export interface ProcessSpec {
  readonly role: "orchestrator" | "this-machine" | "local-peer";
  readonly name: string;
  /** Of `tah`; asked for at every start. */
  readonly args: () => readonly string[];
  readonly logFile: string;
}

export interface ProcessEvents {
  onMessage(message: ChildMessage): void;
  /** It or one of its children started or ended. */
  onProcesses(): void;
  /** Something about this process changed that people should know. */
  onNote(text: string): void;
  /** It will not be started again. */
  onGivenUp(failure: FailureError): void;
}

export class SupervisedProcess {
  readonly spec: ProcessSpec;
  restarts = 0;
  readonly #events: ProcessEvents;
  #child: ChildProcess | undefined;
  #children: readonly ProcessView[] = [];
  #startedAtMs = 0;
  #quickDeaths = 0;
  #timer: NodeJS.Timeout | undefined;
  #stopping = false;

  constructor(spec: ProcessSpec, events: ProcessEvents) {
    this.spec = spec;
    this.#events = events;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** This process and its children, as they were last heard of. */
  get processes(): readonly ProcessView[] {
    const { role, name } = this.spec;
    return this.pid === undefined ? [] : [{ role, name, pid: this.pid, alive: true }, ...this.#children];
  }

  start(): void {
    const child = fork(entryFile(), this.spec.args(), {
      stdio: ["ignore", "pipe", "pipe", "ipc"],
      // In a group of its own, so that Ctrl-C reaches the supervisor only, which stops all in the right order.
      detached: process.platform !== "win32",
    });
    const log = openLog(this.spec.logFile);
    child.stdout?.setEncoding("utf8").on("data", log);
    child.stderr?.setEncoding("utf8").on("data", log);
    child.on("message", (message) => this.#receive(childMessageSchema.parse(message)));
    child.once("exit", (code, signal) => this.#ended(child, signal ?? `exit code ${code}`));
    child.on("error", (error) => {
      // Emitted instead of "exit" when it could not be started at all.
      if (child.pid === undefined) this.#ended(child, error.message);
    });
    this.#child = child;
    this.#startedAtMs = Date.now();
    this.#events.onProcesses();
  }

  send(message: ParentMessage): void {
    if (this.#child?.connected) this.#child.send(message, () => undefined); // gone meanwhile: its exit is handled
  }

  /** Resolves when the process is gone; after `graceMs` it is killed together with its children. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#timer);
    const child = this.#child;
    if (child?.pid === undefined) return;
    const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    if (child.connected) child.disconnect();
    const timer = setTimeout(() => killGroup(child), graceMs);
    await gone;
    clearTimeout(timer);
  }

  #receive(message: ChildMessage): void {
    if (message.type === "children") {
      this.#children = message.processes;
      this.#events.onProcesses();
    }
    if (message.type === "failed" && !message.failure.retry && this.restarts === 0) {
      const { code, message: text, action } = message.failure;
      const { role, name } = this.spec;
      // What keeps the orchestrator from starting is about the network that was asked for; people need not know who says it.
      this.#giveUp(new FailureError(code, role === "orchestrator" ? text : `${name}: ${text}`, { action }));
    }
    this.#events.onMessage(message);
  }

  #ended(child: ChildProcess, how: string): void {
    killGroup(child); // whatever it left behind
    this.#child = undefined;
    this.#children = [];
    if (this.#stopping) return;
    this.#events.onProcesses();
    const steady = Date.now() - this.#startedAtMs >= steadyMs;
    this.#quickDeaths = steady ? 1 : this.#quickDeaths + 1;
    if (this.#quickDeaths <= maxQuickDeaths) this.#restartLater(how);
    else {
      const action = `Its log says why: ${this.spec.logFile}`;
      this.#giveUp(new FailureError("compute-crashed", `${this.spec.name} keeps ending (${how})`, { action }));
    }
  }

  #restartLater(how: string): void {
    const pauseMs = Math.min(longestRestartMs, firstRestartMs * 2 ** (this.#quickDeaths - 1));
    this.#events.onNote(`${this.spec.name} ended (${how}); starting it again in ${pauseMs / 1000} s`);
    this.#timer = setTimeout(() => {
      this.restarts += 1;
      this.start();
    }, pauseMs);
  }

  #giveUp(failure: FailureError): void {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#events.onGivenUp(failure);
  }
}

/** A full disk costs lines of this log, nothing else; what matters is in the daemon's own log. */
function openLog(file: string): (text: string) => void {
  let append: ((text: string) => void) | undefined = rotatingFile(file, maxLogFileBytes);
  return (text) => {
    try {
      append?.(text);
    } catch {
      append = undefined;
    }
  };
}

/** The program that runs now: from source, or the packaged bundle. */
function entryFile(): string {
  const [, file] = process.argv;
  if (file === undefined) throw new Error("there is no program to start another time");
  return file;
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    if (process.platform === "win32") child.kill("SIGKILL");
    else process.kill(-child.pid, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}
