/** Tells everyone who is connected what is new of the run, and twice a second how it is getting on. */
import { encodeMessage } from "../../protocol/messages.ts";
import type { RunUpdate } from "../../protocol/run-view.ts";
import { epochRuns, type RunState } from "../orchestrator/core/state.ts";
import { viewOf } from "../orchestrator/core/view.ts";
import type { Relay } from "./relay.ts";
import { runChanges, wholeRun } from "./run-feed.ts";
import type { Session } from "./session.ts";
import type { TelemetryDesk } from "./telemetry.ts";

const telemetryIntervalMs = 500;
/** Views that follow each other more closely are sent as one. */
const updateIntervalMs = 100;

export interface BroadcasterOptions {
  readonly state: () => RunState;
  readonly sessions: () => Iterable<Session>;
  readonly telemetry: TelemetryDesk;
  readonly relay: Relay;
  readonly clock: () => number;
  /** Everything that is broadcast, for whoever shares this process. */
  readonly onRunUpdate?: (update: RunUpdate) => void;
}

export class Broadcaster {
  readonly #options: BroadcasterOptions;
  readonly #telemetryTimer: NodeJS.Timeout;
  #updateTimer: NodeJS.Timeout | undefined;
  /** The state that clients have been told of. */
  #told: RunState;
  #wasActive = false;

  constructor(options: BroadcasterOptions) {
    this.#options = options;
    this.#told = options.state();
    this.#telemetryTimer = setInterval(() => this.#sendTelemetry(), telemetryIntervalMs);
  }

  /** The run has changed. */
  changed(): void {
    this.#updateTimer ??= setTimeout(() => this.#sendChanges(), updateIntervalMs);
  }

  /** The run cannot change at present, which its state does not know. */
  stoodStill(reason: string): void {
    const state = this.#options.state();
    this.#send({ runId: state.definition.runId, view: { ...viewOf(state), reason } });
  }

  /** A session has just opened: it gets everything, and from then on what the others get. */
  welcome(session: Session): void {
    this.#sendChanges(session);
    session.send({ type: "run-update", update: wholeRun(this.#told) });
  }

  close(): void {
    clearInterval(this.#telemetryTimer);
    clearTimeout(this.#updateTimer);
  }

  #sendChanges(except?: Session): void {
    clearTimeout(this.#updateTimer);
    this.#updateTimer = undefined;
    const state = this.#options.state();
    const update = runChanges(this.#told, state);
    this.#told = state;
    if (update !== null) this.#send(update, except);
  }

  #sendTelemetry(): void {
    const { telemetry, relay, clock } = this.#options;
    const state = this.#options.state();
    const active = epochRuns(state);
    const flows = relay.takeFlows();
    // Once more after the epoch has ended, so that nobody is left with the speed of a run that stands still.
    if (active || this.#wasActive)
      this.#send({ runId: state.definition.runId, telemetry: telemetry.sum(state, flows, clock()) });
    this.#wasActive = active;
  }

  #send(update: RunUpdate, except?: Session): void {
    const bytes = encodeMessage({ type: "run-update", update });
    for (const session of this.#options.sessions()) if (session !== except) session.sendEncoded(bytes);
    this.#options.onRunUpdate?.(update);
  }
}
