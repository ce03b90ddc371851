/**
 * Who works for which run. A miner asks the network for work, not a run; it is assigned to one, and may be moved to another
 * between that run's epochs. To the two runs that is one member leaving and another one joining.
 */
import type { MinerId, RunId } from "../../protocol/ids.ts";
import type { MinerMessage } from "../orchestrator/core/event.ts";
import type { Orchestrator } from "../orchestrator/orchestrator.ts";
import { type AssignableMiner, type AssignableRun, assignRuns } from "./assignment.ts";

type Join = Extract<MinerMessage, { type: "join" }>;
type Link = Extract<MinerMessage, { type: "link" }>;
type Leave = Extract<MinerMessage, { type: "leave" }>;

/** A run, as its miners see it. */
export interface Employer extends AssignableRun {
  /** Trains, or would if it had the miners. */
  readonly isActive: boolean;
  /** Whether it trains in the epoch that is under way. */
  trains(minerId: MinerId): boolean;
  /** Whether nothing that the miner has trained for this run would be lost with it. */
  canRelease(minerId: MinerId): boolean;
  readonly orchestrator: Pick<Orchestrator, "submit">;
}

export interface WorkforceOptions<R extends Employer> {
  readonly runs: () => readonly R[];
  readonly clock: () => number;
  /** Null: there is nothing for it to do. Called before the run itself says anything to the miner. */
  readonly assigned: (minerId: MinerId, run: R | null) => void;
}

interface Worker<R extends Employer> {
  readonly name: string;
  readonly join: Join;
  /** What it said last of its connection, which the next run that it works for is told as well. */
  link: Link | null;
  run: R | null;
}

/** What a miner is known to be able to do. */
export type Abilities = Pick<AssignableMiner, "tokensPerSecond" | "memoryBytes">;

/** A miner that is not there, and the run to which it should come back: there it had its weights. */
interface Former extends Abilities {
  readonly runId: RunId;
  /** Until then it counts as if it were still there. */
  readonly missedUntilMs: number;
}

/** Most miners whose connection is lost come back after a moment; nobody else moves because of them meanwhile. */
const graceMs = 30_000;
const keptFormer = 4096;

export class Workforce<R extends Employer> {
  readonly #options: WorkforceOptions<R>;
  readonly #workers = new Map<MinerId, Worker<R>>();
  /** The one that left first is the first. */
  readonly #former = new Map<MinerId, Former>();
  #graceTimer: NodeJS.Timeout | undefined;

  constructor(options: WorkforceOptions<R>) {
    this.#options = options;
  }

  runOf(minerId: MinerId): R | null {
    return this.#workers.get(minerId)?.run ?? null;
  }

  countOf(run: R): number {
    return [...this.#workers.values()].filter((worker) => worker.run === run).length;
  }

  /** The miner asks for work, for the first time or again. */
  join(minerId: MinerId, name: string, join: Join): void {
    const before = this.#workers.get(minerId);
    const worker: Worker<R> = { name, join, link: before?.link ?? null, run: before?.run ?? null };
    this.#workers.set(minerId, worker);
    const heldRun = this.#runHeldBy(join);
    if (worker.run !== null) worker.run.orchestrator.submit({ type: "message", from: minerId, name, message: join });
    else if (heldRun !== null) this.#assign(minerId, worker, heldRun);
    else {
      this.reassign();
      if (this.runOf(minerId) === null) this.#options.assigned(minerId, null);
    }
    this.#settleWithFormer(minerId);
  }

  /** The miner wants no more work. */
  leave(minerId: MinerId, message: Leave): void {
    const worker = this.#workers.get(minerId);
    this.#workers.delete(minerId);
    if (worker?.run == null) return;
    const { run, name, join } = worker;
    this.#remember(minerId, { runId: run.runId, ...abilitiesOf(join), missedUntilMs: 0 });
    run.orchestrator.submit({ type: "message", from: minerId, name, message });
    this.reassign();
  }

  /** Its connection was measured. */
  measured(minerId: MinerId, link: Link): void {
    const worker = this.#workers.get(minerId);
    if (worker === undefined) return;
    worker.link = link;
    worker.run?.orchestrator.submit({ type: "message", from: minerId, name: worker.name, message: link });
  }

  /** Its connection closed. */
  lose(minerId: MinerId): void {
    const worker = this.#workers.get(minerId);
    this.#workers.delete(minerId);
    if (worker?.run == null) return;
    this.expect(minerId, worker.run, abilitiesOf(worker.join));
    worker.run.orchestrator.submit({ type: "session-closed", minerId });
  }

  /** The miner worked for this run, and probably comes back to it. */
  expect(minerId: MinerId, { runId }: R, abilities: Abilities): void {
    this.#remember(minerId, { runId, ...abilities, missedUntilMs: this.#options.clock() + graceMs });
    clearTimeout(this.#graceTimer);
    this.#graceTimer = setTimeout(() => this.reassign(), graceMs);
  }

  /** The run is no longer there. */
  dismiss(run: R): void {
    for (const [minerId, worker] of this.#workers) if (worker.run === run) this.#assign(minerId, worker, null);
    this.reassign();
  }

  /** Moves everyone who should work for another run and can be spared where it is; the others follow at a later call. */
  reassign(): void {
    const runFor = this.#assignment();
    for (const [minerId, worker] of this.#workers) {
      const run = runFor(minerId, worker);
      if (run === worker.run || worker.run?.canRelease(minerId) === false) continue;
      this.#takeAway(minerId, worker, run);
      this.#assign(minerId, worker, run);
    }
  }

  close(): void {
    clearTimeout(this.#graceTimer);
  }

  /** The run whose state the miner still holds after its session was lost. */
  #runHeldBy({ held }: Join): R | null {
    const [place] = held;
    return this.#options.runs().find((run) => run.runId === place?.runId && run.isActive) ?? null;
  }

  #assignment(): (minerId: MinerId, worker: Worker<R>) => R | null {
    const runs = this.#options.runs();
    const active = runs.filter((run) => run.isActive);
    // While all rest nobody moves, and who comes waits with the others.
    if (active.length === 0) return (_, { run }) => run ?? runs.toSorted((a, b) => b.weight - a.weight)[0] ?? null;
    const assignment = assignRuns(active, [...this.#present(), ...this.#missed()]);
    return (minerId) => active.find(({ runId }) => runId === assignment.get(minerId)) ?? null;
  }

  #present(): readonly AssignableMiner[] {
    return [...this.#workers].map(([minerId, { run, join }]) => ({
      minerId,
      runId: run?.runId ?? this.#former.get(minerId)?.runId ?? null,
      ...abilitiesOf(join),
      busy: run?.trains(minerId) ?? false,
    }));
  }

  #missed(): readonly AssignableMiner[] {
    const nowMs = this.#options.clock();
    return [...this.#former]
      .filter(([minerId, { missedUntilMs }]) => missedUntilMs > nowMs && !this.#workers.has(minerId))
      .map(([minerId, { runId, tokensPerSecond, memoryBytes }]) => ({
        minerId,
        runId,
        tokensPerSecond,
        memoryBytes,
        busy: true,
      }));
  }

  #remember(minerId: MinerId, former: Former): void {
    this.#former.delete(minerId);
    this.#former.set(minerId, former);
    const [oldest] = this.#former.keys();
    if (this.#former.size > keptFormer && oldest !== undefined) this.#former.delete(oldest);
  }

  /** A run that still keeps the miner's place need not: the miner is back, and works elsewhere. */
  #settleWithFormer(minerId: MinerId): void {
    const formerId = this.#former.get(minerId)?.runId;
    const worker = this.#workers.get(minerId);
    this.#former.delete(minerId);
    const former = this.#options.runs().find(({ runId }) => runId === formerId);
    if (former !== undefined && worker !== undefined && former !== worker.run)
      this.#takeAway(minerId, { ...worker, run: former }, worker.run);
  }

  #takeAway(from: MinerId, { run, name }: Worker<R>, to: R | null): void {
    const reason = to === null ? "" : `it works for ${to.runId} now.`;
    run?.orchestrator.submit({ type: "message", from, name, message: { type: "leave", reason } });
  }

  #assign(minerId: MinerId, worker: Worker<R>, run: R | null): void {
    worker.run = run;
    this.#options.assigned(minerId, run);
    const { name, join, link } = worker;
    const held = join.held.filter((place) => place.runId === run?.runId);
    run?.orchestrator.submit({ type: "message", from: minerId, name, message: { ...join, held } });
    if (link !== null) run?.orchestrator.submit({ type: "message", from: minerId, name, message: link });
  }
}

function abilitiesOf({ device }: Join): Abilities {
  return { tokensPerSecond: device.blockTokensPerSecond, memoryBytes: device.memoryLimitBytes };
}
