/**
 * One application of an event while it is being worked out: the state as it stands and the effects so far. It lives only
 * inside `apply`; states are values throughout.
 */
import type { EpochRef, MinerId } from "../../../protocol/ids.ts";
import type { RunLogEntry } from "../../../protocol/run-view.ts";
import type { Effect, OrchestratorMessage } from "./event.ts";
import { currentEpoch, memberOf, type PhaseState, type RunState, rosterMembers } from "./state.ts";

/** Older entries remain in the event log; views show the last ones. */
const keptLogEntries = 500;

export class Turn {
  readonly atMs: number;
  readonly effects: Effect[] = [];
  #state: RunState;

  constructor(state: RunState, atMs: number) {
    this.#state = state;
    this.atMs = atMs;
  }

  get state(): RunState {
    return this.#state;
  }

  get at(): EpochRef {
    return currentEpoch(this.#state);
  }

  change(part: Partial<RunState>): void {
    this.#state = { ...this.#state, ...part };
  }

  enter(phase: PhaseState): void {
    this.change({ phase, phaseSinceMs: this.atMs });
  }

  send(to: MinerId, message: OrchestratorMessage): void {
    this.effects.push({ type: "send", to, message });
  }

  sendToRoster(message: OrchestratorMessage): void {
    for (const minerId of rosterMembers(this.#state)) this.send(minerId, message);
  }

  log(level: RunLogEntry["level"], text: string): void {
    const { log, nextLogSequence } = this.#state;
    const entry = { sequence: nextLogSequence, atMs: this.atMs, level, text };
    this.change({ log: [...log, entry].slice(-keptLogEntries), nextLogSequence: nextLogSequence + 1 });
  }

  /** Takes a replica out of the epoch; it keeps its session and its stage. */
  dropFromRoster(minerId: MinerId): void {
    const { version, stages } = this.#state.roster;
    if (!stages.some((replicas) => replicas.includes(minerId))) return;
    this.change({
      roster: { version: version + 1, stages: stages.map((replicas) => replicas.filter((one) => one !== minerId)) },
    });
  }

  /** Takes a replica out of the epoch because it did not do its part. */
  dropAsUnreliable(minerId: MinerId, why: string): void {
    const member = memberOf(this.#state, minerId);
    if (member === undefined) return;
    this.dropFromRoster(minerId);
    this.setUnreliable(minerId, true);
    this.log("warning", `${member.name} is out of epoch ${this.#state.epoch}: ${why}`);
  }

  setUnreliable(minerId: MinerId, unreliable: boolean): void {
    const { members } = this.#state;
    this.change({ members: members.map((one) => (one.minerId === minerId ? { ...one, unreliable } : one)) });
  }
}
