/** A process that answers requests of its parent, one at a time or several. */
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";

interface Reply {
  readonly id: number;
  readonly result: unknown;
}

export class AskedProcess {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #asked = 0;

  /** `file`: one of this folder. `within`: a command line that runs it somewhere else. */
  constructor(file: string, args: readonly string[], within: readonly string[] = []) {
    const [execPath = process.execPath, ...execArgv] = [...within, process.execPath];
    const path = fileURLToPath(new URL(file, import.meta.url));
    this.#child = fork(path, args, { execPath, execArgv, stdio: ["ignore", "inherit", "inherit", "ipc"] });
    this.#child.on("message", ({ id, result }: Reply) => this.#answerTo(id).resolve(result));
    this.#child.once("exit", (code) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`${file} ended with code ${code}`));
    });
  }

  /** What it says first, unasked. */
  get greeting(): Promise<unknown> {
    return this.#answerTo(0).promise;
  }

  ask(call: string, argument?: unknown): Promise<unknown> {
    this.#asked += 1;
    this.#child.send({ id: this.#asked, call, argument });
    return this.#answerTo(this.#asked).promise;
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const exited = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.disconnect();
    await exited;
  }

  #answerTo(id: number): PromiseWithResolvers<unknown> {
    const waiting = this.#waiting.get(id) ?? Promise.withResolvers<unknown>();
    this.#waiting.set(id, waiting);
    return waiting;
  }
}
