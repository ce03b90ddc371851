/** Runs tasks side by side, the most urgent first, and starts none that would not be done in time. */

export interface RunPoolOptions<Task, Result> {
  readonly run: (task: Task) => Promise<Result>;
  /** How many run at once. */
  readonly jobs: number;
  /** When all shall be done, in the time of `nowMs`. */
  readonly deadlineMs: number;
  readonly nowMs: () => number;
  /** How long a task takes next to others, in any unit. */
  readonly effortOf: (task: Task) => number;
}

interface Waiting<Task, Result> {
  readonly task: Task;
  readonly rank: number;
  readonly settle: (result: Result | null | Promise<Result>) => void;
}

/** An estimate is so uncertain. */
const margin = 1.1;

export class RunPool<Task, Result> {
  readonly #options: RunPoolOptions<Task, Result>;
  readonly #waiting: Waiting<Task, Result>[] = [];
  #running = 0;
  /** Of the slowest task so far. */
  #msPerEffort = 0;

  constructor(options: RunPoolOptions<Task, Result>) {
    this.#options = options;
  }

  /** Of the tasks that wait, those of the lowest rank come first. Null: there was no time left for it. */
  submit(task: Task, rank: number): Promise<Result | null> {
    const { promise, resolve } = Promise.withResolvers<Result | null>();
    this.#waiting.push({ task, rank, settle: resolve });
    this.#waiting.sort((a, b) => a.rank - b.rank);
    this.#fillSoon();
    return promise;
  }

  /** When everybody has said what comes next: a result may lead to a more urgent task than those that wait. */
  #fillSoon(): void {
    setImmediate(() => this.#fill());
  }

  #fill(): void {
    while (this.#running < this.#options.jobs) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      if (this.#isInTime(next.task)) next.settle(this.#run(next.task));
      else next.settle(null);
    }
  }

  #isInTime(task: Task): boolean {
    const { nowMs, deadlineMs, effortOf } = this.#options;
    return nowMs() + margin * this.#msPerEffort * effortOf(task) < deadlineMs;
  }

  async #run(task: Task): Promise<Result> {
    const { run, nowMs, effortOf } = this.#options;
    this.#running++;
    const startMs = nowMs();
    try {
      return await run(task);
    } finally {
      this.#running--;
      this.#msPerEffort = Math.max(this.#msPerEffort, (nowMs() - startMs) / effortOf(task));
      this.#fillSoon();
    }
  }
}
