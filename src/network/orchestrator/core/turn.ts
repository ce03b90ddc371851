/**
 * One application of an event while it is being worked out: the state as it stands and the effects so far. It lives only
 * inside `apply`; states are values throughout.
 */
import type { EpochRef, MinerId } from "../../../protocol/ids.ts";
import type { RunLogEntry } from "../../../protocol/run-view.ts";
import type { Effect, OrchestratorMessage } from "./event.ts";
import {
  currentEpoch,
  epochRuns,
  type Member,
  memberOf,
  type PhaseState,
  type Replica,
  type RunState,
} from "./state.ts";

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

  log(level: RunLogEntry["level"], text: string): void {
    const { log, nextLogSequence } = this.#state;
    const entry = { sequence: nextLogSequence, atMs: this.atMs, level, text };
    this.change({ log: [...log, entry].slice(-keptLogEntries), nextLogSequence: nextLogSequence + 1 });
  }

  changeMember(minerId: MinerId, part: Partial<Member>): void {
    const { members } = this.#state;
    const index = members.findIndex((member) => member.minerId === minerId);
    const member = members[index];
    if (member !== undefined) this.change({ members: members.with(index, { ...member, ...part }) });
  }

  changeReplica(stage: number, minerId: MinerId, part: Partial<Replica>): void {
    const { replicas } = this.#state;
    const ofStage = replicas[stage] ?? [];
    const index = ofStage.findIndex((replica) => replica.minerId === minerId);
    const replica = ofStage[index];
    if (replica === undefined) return;
    this.change({ replicas: replicas.with(stage, ofStage.with(index, { ...replica, ...part })) });
    const onRoster = (one: Pick<Replica, "part" | "away">) => one.part === "live" && !one.away;
    if (onRoster(replica) !== onRoster({ ...replica, ...part })) this.rosterChanged();
  }

  /** Takes a replica out of the epoch because it did not do its part; its miner keeps session and stage. */
  dropAsUnreliable(stage: number, minerId: MinerId, why: string): void {
    const member = memberOf(this.#state, minerId);
    if (member === undefined) return;
    this.changeReplica(stage, minerId, { part: "out" });
    this.changeMember(minerId, { unreliable: true });
    this.log("warning", `${member.name} is out of epoch ${this.#state.epoch}: ${why}`);
  }

  /** Somebody left or came back: miners are told soon, but not of every single one of many. */
  rosterChanged(): void {
    const { roster, phase } = this.#state;
    if (!epochRuns(this.#state) || phase.name === "preparing" || roster.dueMs !== null) return;
    this.change({ roster: { ...roster, dueMs: Math.max(this.atMs, roster.notBeforeMs) } });
  }
}
