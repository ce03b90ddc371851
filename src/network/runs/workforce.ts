/**
 * Who works for which run. A miner asks the network for work, not a run; it is assigned to one, and may be moved to another
 * between that run's epochs. To the two runs that is one member leaving and another one joining.
 */
import type { MinerId, RunId } from "../../protocol/ids.ts";
import type { MinerMessage } from "../orchestrator/core/event.ts";
import { assignRuns } from "./assignment.ts";
import type { ServedRun } from "./served-run.ts";

type Join = Extract<MinerMessage, { type: "join" }>;

interface Worker {
  readonly name: string;
  readonly join: Join;
  run: ServedRun | null;
}

export interface WorkforceOptions {
  readonly runs: () => readonly ServedRun[];
  /** Null: there is nothing for it to do. Called before the run itself says anything to the miner. */
  readonly assigned: (minerId: MinerId, run: ServedRun | null) => void;
}

/** Miners whose connection was lost and that come back to their run, if they are still wanted there. */
const keptFormer = 4096;

export class Workforce {
  readonly #options: WorkforceOptions;
  readonly #workers = new Map<MinerId, Worker>();
  /** The oldest first. */
  readonly #former = new Map<MinerId, RunId>();

  constructor(options: WorkforceOptions) {
    this.#options = options;
  }

  runOf(minerId: MinerId): ServedRun | null {
    return this.#workers.get(minerId)?.run ?? null;
  }

  countOf(run: ServedRun): number {
    return [...this.#workers.values()].filter((worker) => worker.run === run).length;
  }

  /** The miner asks for work, for the first time or again. */
  join(minerId: MinerId, name: string, join: Join): void {
    const run = this.runOf(minerId);
    this.#workers.set(minerId, { name, join, run });
    if (run !== null) run.orchestrator.submit({ type: "message", from: minerId, name, message: join });
    else {
      this.reassign();
      if (this.runOf(minerId) === null) this.#options.assigned(minerId, null);
    }
  }

  /** The miner wants no more work. */
  leave(minerId: MinerId, message: Extract<MinerMessage, { type: "leave" }>): void {
    const worker = this.#workers.get(minerId);
    this.#workers.delete(minerId);
    if (worker?.run == null) return;
    this.remember(minerId, worker.run.runId);
    worker.run.orchestrator.submit({ type: "message", from: minerId, name: worker.name, message });
    this.reassign();
  }

  /** Its connection closed. */
  lose(minerId: MinerId): void {
    const worker = this.#workers.get(minerId);
    this.#workers.delete(minerId);
    if (worker?.run == null) return;
    this.remember(minerId, worker.run.runId);
    worker.run.orchestrator.submit({ type: "session-closed", minerId });
    this.reassign();
  }

  /** The miner held a place of this run, and should get it back when it comes. */
  remember(minerId: MinerId, runId: RunId): void {
    this.#former.delete(minerId);
    this.#former.set(minerId, runId);
    const [oldest] = this.#former.keys();
    if (this.#former.size > keptFormer && oldest !== undefined) this.#former.delete(oldest);
  }

  /** The run is no longer there. */
  dismiss(run: ServedRun): void {
    for (const [minerId, worker] of this.#workers) if (worker.run === run) this.#assign(minerId, worker, null);
    this.reassign();
  }

  /** Moves everyone who should work for another run and can be spared where it is; the others follow at a later call. */
  reassign(): void {
    const wanted = this.#wantedRuns();
    for (const [minerId, worker] of this.#workers) {
      const run = wanted(minerId, worker);
      if (run === worker.run || worker.run?.canRelease(minerId) === false) continue;
      this.#leave(minerId, worker, run);
      this.#assign(minerId, worker, run);
    }
  }

  #wantedRuns(): (minerId: MinerId, worker: Worker) => ServedRun | null {
    const runs = this.#options.runs();
    const active = runs.filter((run) => run.isActive);
    // While all rest nobody moves, and who comes waits with the others.
    if (active.length === 0) return (_, { run }) => run ?? runs.toSorted((a, b) => b.weight - a.weight)[0] ?? null;
    const miners = [...this.#workers].map(([minerId, { run, join }]) => ({
      minerId,
      runId: run?.runId ?? this.#former.get(minerId) ?? null,
      tokensPerSecond: join.device.blockTokensPerSecond,
      busy: run?.isOnRoster(minerId) ?? false,
    }));
    const assignment = assignRuns(active, miners);
    return (minerId) => active.find(({ runId }) => runId === assignment.get(minerId)) ?? null;
  }

  #leave(from: MinerId, { run, name }: Worker, to: ServedRun | null): void {
    const reason = to === null ? "" : `it works for ${to.runId} now.`;
    run?.orchestrator.submit({ type: "message", from, name, message: { type: "leave", reason } });
  }

  #assign(minerId: MinerId, worker: Worker, run: ServedRun | null): void {
    worker.run = run;
    this.#options.assigned(minerId, run);
    const { name, join } = worker;
    run?.orchestrator.submit({ type: "message", from: minerId, name, message: join });
  }
}
