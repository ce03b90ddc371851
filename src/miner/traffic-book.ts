/** Adds up what passed through the connection, in all and for each run, and remembers it across restarts. */
import type { RunId } from "../protocol/ids.ts";
import type { TrafficView } from "../protocol/machine-view.ts";
import type { TrafficTotals } from "../transport/traffic/traffic.ts";
import type { StateDatabase } from "./store/state-database.ts";

/** What a crash may cost the count. */
const storeMs = 30_000;
/** Over which the rates are taken. */
const windowMs = 5000;

export class TrafficBook {
  readonly #database: Pick<StateDatabase, "addTraffic" | "traffic">;
  readonly #nowMs: () => number;
  /** As stored. */
  #stored: ReturnType<StateDatabase["traffic"]>;
  /** Since then; null: while it worked for no run. */
  readonly #unstored = new Map<RunId | null, { sentBytes: number; receivedBytes: number }>();
  #storedAtMs: number;
  #run: RunId | null = null;
  #counted: TrafficTotals = { sentBytes: 0, receivedBytes: 0 };
  #recent: (TrafficTotals & { readonly atMs: number })[] = [];

  constructor(database: Pick<StateDatabase, "addTraffic" | "traffic">, nowMs: () => number = () => performance.now()) {
    this.#database = database;
    this.#nowMs = nowMs;
    this.#stored = database.traffic();
    this.#storedAtMs = nowMs();
  }

  /** `totals`: since the daemon started. What came until now was the former run's. */
  assigned(run: RunId | null, totals: TrafficTotals): void {
    this.#count(totals);
    this.#run = run;
  }

  /** Throws when the database cannot be written; what was counted is kept, and tried again. */
  update(totals: TrafficTotals): void {
    this.#count(totals);
    const nowMs = this.#nowMs();
    this.#recent = [...this.#recent.filter(({ atMs }) => atMs >= nowMs - windowMs), { ...totals, atMs: nowMs }];
    if (nowMs - this.#storedAtMs < storeMs) return;
    this.#storedAtMs = nowMs;
    this.store();
  }

  store(): void {
    this.#database.addTraffic([...this.#unstored].map(([runId, bytes]) => ({ runId, ...bytes })));
    this.#unstored.clear();
    this.#stored = this.#database.traffic();
  }

  get view(): Omit<TrafficView, "link" | "peers" | "sentFrames"> {
    const runs = new Map(
      this.#stored.map(({ runId, sentBytes, receivedBytes }) => [runId, { sentBytes, receivedBytes }]),
    );
    for (const [runId, { sentBytes, receivedBytes }] of this.#unstored) {
      const known = runs.get(runId) ?? { sentBytes: 0, receivedBytes: 0 };
      runs.set(runId, {
        sentBytes: known.sentBytes + sentBytes,
        receivedBytes: known.receivedBytes + receivedBytes,
      });
    }
    const all = [...runs.values()];
    return {
      total: {
        sentBytes: all.reduce((sum, { sentBytes }) => sum + sentBytes, 0),
        receivedBytes: all.reduce((sum, { receivedBytes }) => sum + receivedBytes, 0),
      },
      runs: [...runs].flatMap(([runId, bytes]) => (runId === null ? [] : [{ runId, ...bytes }])),
      sentBytesPerSecond: this.#rateOf("sentBytes"),
      receivedBytesPerSecond: this.#rateOf("receivedBytes"),
    };
  }

  #count(totals: TrafficTotals): void {
    const known = this.#unstored.get(this.#run) ?? { sentBytes: 0, receivedBytes: 0 };
    this.#unstored.set(this.#run, {
      sentBytes: known.sentBytes + totals.sentBytes - this.#counted.sentBytes,
      receivedBytes: known.receivedBytes + totals.receivedBytes - this.#counted.receivedBytes,
    });
    this.#counted = totals;
  }

  #rateOf(direction: keyof TrafficTotals): number {
    const [first] = this.#recent;
    const last = this.#recent.at(-1);
    if (first === undefined || last === undefined || last.atMs === first.atMs) return 0;
    return ((last[direction] - first[direction]) / (last.atMs - first.atMs)) * 1000;
  }
}
