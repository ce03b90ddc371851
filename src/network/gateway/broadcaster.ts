/** Tells everyone who is connected what is new of the runs, and once a second how each of them is getting on. */
import { type MessageBody, messageBody } from "../../protocol/control-channel.ts";
import type { GatewayMessage } from "../../protocol/gateway-messages.ts";
import type { RunId } from "../../protocol/ids.ts";
import type { RunSummary, RunUpdate } from "../../protocol/run-view.ts";
import { epochRuns, type RunState } from "../orchestrator/core/state.ts";
import { viewOf } from "../orchestrator/core/view.ts";
import type { Runs } from "../runs/runs.ts";
import type { ServedRun } from "../runs/served-run.ts";
import type { Flow, Relay } from "./relay.ts";
import { runChanges, wholeRun } from "./run-feed.ts";
import type { Session } from "./session.ts";
import type { TelemetryDesk } from "./telemetry.ts";

const telemetryIntervalMs = 1000;
const updateIntervalLimitsMs = { shortest: 100, longest: 1000 };
/** A message is signed for each session, which takes about 35 µs: two percent of a core, then. */
const updateIntervalPerSessionMs = 2;

/** Changes that follow each other more closely are sent as one: so many have to be told of each. */
export function updateIntervalMs(sessions: number): number {
  const { shortest, longest } = updateIntervalLimitsMs;
  return Math.min(longest, Math.max(shortest, sessions * updateIntervalPerSessionMs));
}

export interface BroadcasterOptions {
  readonly runs: Runs;
  readonly sessions: () => readonly Session[];
  readonly telemetry: TelemetryDesk;
  readonly relay: Relay;
  readonly clock: () => number;
  /** Everything that is broadcast of a run, for whoever shares this process. */
  readonly onRunUpdate?: (update: RunUpdate) => void;
}

export class Broadcaster {
  readonly #options: BroadcasterOptions;
  readonly #telemetryTimer: NodeJS.Timeout;
  #updateTimer: NodeJS.Timeout | undefined;
  /** What clients have been told: the states of the runs, and all of them at a glance. */
  readonly #told = new Map<RunId, RunState>();
  #listed: readonly RunSummary[] = [];
  /** Encoded: sessions may come faster than runs change, and their history grows. */
  readonly #whole = new WeakMap<RunState, MessageBody>();
  #toldAtMs = Number.NEGATIVE_INFINITY;
  /** They have been told nothing yet, and get everything with the next update. */
  readonly #newcomers = new Set<Session>();
  /** Those whose members had something to do at the last telemetry. */
  #active: ReadonlySet<RunId> = new Set();

  constructor(options: BroadcasterOptions) {
    this.#options = options;
    for (const { runId, state } of options.runs.all) this.#told.set(runId, state);
    this.#listed = this.#summaries();
    this.#telemetryTimer = setInterval(() => this.#sendTelemetry(), telemetryIntervalMs);
  }

  /** A run has changed, or which runs there are. */
  changed(): void {
    this.#updateTimer ??= setTimeout(() => this.#sendChanges(), this.#intervalMs);
  }

  /** The run cannot change at present, which its state does not know. */
  stoodStill({ runId, state }: ServedRun, reason: string): void {
    this.#sendUpdate({ runId, view: { ...viewOf(state), reason } });
  }

  /**
   * A session has just opened: it gets everything, and from then on what the others get. It waits for the next update where there was one
   * a moment ago: of a crowd that comes at once each is news to all others.
   */
  welcome(session: Session): void {
    this.#newcomers.add(session);
    if (this.#options.clock() - this.#toldAtMs >= this.#intervalMs) this.#sendChanges();
    else this.changed();
  }

  get #intervalMs(): number {
    return updateIntervalMs(this.#options.sessions().length);
  }

  #wholeOf(state: RunState): MessageBody {
    const body = this.#whole.get(state) ?? messageBody({ type: "run-update", update: wholeRun(state) });
    this.#whole.set(state, body);
    return body;
  }

  close(): void {
    clearInterval(this.#telemetryTimer);
    clearTimeout(this.#updateTimer);
  }

  /** The list goes first, so that nobody hears of a run that is not on it. */
  #sendChanges(): void {
    clearTimeout(this.#updateTimer);
    this.#updateTimer = undefined;
    this.#toldAtMs = this.#options.clock();
    const listed = this.#summaries();
    if (JSON.stringify(listed) !== JSON.stringify(this.#listed)) this.#send({ type: "runs", runs: listed });
    this.#listed = listed;
    for (const runId of this.#told.keys()) if (this.#options.runs.find(runId) === undefined) this.#told.delete(runId);
    for (const { runId, state } of this.#options.runs.all) {
      const told = this.#told.get(runId);
      this.#told.set(runId, state);
      const update = told === undefined ? wholeRun(state) : runChanges(told, state);
      if (update !== null) this.#sendUpdate(update);
    }
    for (const session of this.#newcomers) this.#sendAll(session);
    this.#newcomers.clear();
  }

  #sendAll(session: Session): void {
    session.send({ type: "runs", runs: this.#listed });
    for (const state of this.#told.values()) session.sendBody(this.#wholeOf(state));
  }

  #summaries(): readonly RunSummary[] {
    const { all, workforce } = this.#options.runs;
    return all.map((run) => run.summary(workforce.countOf(run)));
  }

  #sendTelemetry(): void {
    const { runs, relay } = this.#options;
    const flows = relay.takeFlows();
    const active = runs.all.filter(({ state }) => epochRuns(state));
    // Once more after the epoch has ended, so that nobody is left with the speed of a run that stands still.
    const ended = runs.all.filter((run) => this.#active.has(run.runId) && !active.includes(run));
    for (const run of [...active, ...ended]) this.#sendUpdate(this.#telemetryOf(run, flows));
    this.#active = new Set(active.map(({ runId }) => runId));
  }

  #telemetryOf(run: ServedRun, flows: readonly Flow[]): RunUpdate {
    const { telemetry, clock } = this.#options;
    const own = flows.filter(({ from }) => run.isInEpoch(from));
    return { runId: run.runId, telemetry: telemetry.sum(run.state, own, clock()) };
  }

  #sendUpdate(update: RunUpdate): void {
    this.#send({ type: "run-update", update });
    this.#options.onRunUpdate?.(update);
  }

  #send(message: GatewayMessage): void {
    const body = messageBody(message);
    for (const session of this.#options.sessions()) if (!this.#newcomers.has(session)) session.sendBody(body);
  }
}
