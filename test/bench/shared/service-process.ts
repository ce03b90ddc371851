/**
 * A `tah` command as a service manager keeps it: started again at once when it dies, then after growing pauses. It leads a
 * process group of its own, so that a signal meets it together with its compute worker, as a power cut or a closed lid does.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type ChildMessage, childMessageSchema } from "../../../src/cli/process-messages.ts";

const entry = fileURLToPath(new URL("../../../src/cli/tah.ts", import.meta.url));

/** systemd's RestartSec. */
const firstRestartMs = 100;
const longestRestartMs = 8_000;
/** Having lived so long, a process is started anew with the shortest pause. */
const steadyMs = 10_000;

export interface ServiceOptions {
  /** Asked for at every start. */
  readonly args: () => readonly string[];
  readonly logFile: string;
  /** The command line before Node's own: where the process shall run. */
  readonly within?: readonly string[];
  readonly onMessage?: (message: ChildMessage) => void;
}

export class ServiceProcess {
  readonly #options: ServiceOptions;
  #child: ChildProcess | null = null;
  #startedAtMs = 0;
  #quickDeaths = 0;
  #wanted = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ServiceOptions) {
    this.#options = options;
  }

  /** Undefined while it does not run. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  start(): void {
    this.#wanted = true;
    const { args, logFile, onMessage, within = [] } = this.#options;
    const [execPath = process.execPath, ...execArgv] = [...within, process.execPath];
    const log = openSync(logFile, "a");
    const child = fork(entry, args(), { stdio: ["ignore", log, log, "ipc"], detached: true, execPath, execArgv });
    closeSync(log);
    child.on("message", (message) => onMessage?.(childMessageSchema.parse(message)));
    child.once("exit", () => this.#ended(child));
    this.#child = child;
    this.#startedAtMs = performance.now();
  }

  /** Ends it without a chance to tidy up; the service manager starts it again. */
  kill(): void {
    this.#signal("SIGKILL");
  }

  /** It takes no more part in anything, until it is thawed. */
  freeze(): void {
    this.#signal("SIGSTOP");
  }

  thaw(): void {
    this.#signal("SIGCONT");
  }

  /** As when its machine loses power: nobody starts it again, but `start` does. */
  async unplug(): Promise<void> {
    this.#wanted = false;
    clearTimeout(this.#timer);
    const child = this.#child;
    if (child === null) return;
    const exited = once(child, "exit");
    this.kill();
    await exited;
  }

  /** Asks it to end, and ends it after `graceMs`. */
  async stop(graceMs: number): Promise<void> {
    this.#wanted = false;
    clearTimeout(this.#timer);
    const child = this.#child;
    if (child === null) return;
    const exited = once(child, "exit");
    this.thaw();
    child.kill("SIGTERM");
    const impatience = setTimeout(() => this.kill(), graceMs);
    await exited;
    clearTimeout(impatience);
  }

  #signal(signal: NodeJS.Signals): void {
    const pid = this.#child?.pid;
    if (pid === undefined) return;
    try {
      process.kill(-pid, signal);
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error; // it has just ended
    }
  }

  #ended(child: ChildProcess): void {
    this.kill(); // what it left behind in its group
    if (this.#child === child) this.#child = null;
    if (!this.#wanted) return;
    const steady = performance.now() - this.#startedAtMs >= steadyMs;
    this.#quickDeaths = steady ? 0 : this.#quickDeaths + 1;
    const pauseMs = Math.min(longestRestartMs, firstRestartMs * 2 ** this.#quickDeaths);
    this.#timer = setTimeout(() => this.start(), pauseMs);
  }
}
