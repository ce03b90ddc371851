/**
 * Runs the core: numbers events into the log, and carries effects out once the log is on disk. One tick takes whatever has
 * come in the meantime, so that one sync serves many events.
 */
import { failureOf } from "../../protocol/failure.ts";
import type { GatewayMessage } from "../../protocol/gateway-messages.ts";
import type { Identity } from "../../protocol/identity.ts";
import type { MinerId } from "../../protocol/ids.ts";
import { receiptBytes } from "../../protocol/receipt.ts";
import { type Roster, rosterBytes } from "../../protocol/roster.ts";
import { creditTransfer } from "../ledger/ledger.ts";
import type { SignedReceipt, Store, StoredRun } from "../store/store.ts";
import { apply } from "./core/apply.ts";
import type { RunDefinition } from "./core/definition.ts";
import type { Effect, OrchestratorMessage, RunEvent } from "./core/event.ts";
import { createRun, nextDeadlineMs, type RunState } from "./core/state.ts";

/** An event as it happens; the orchestrator adds the time. */
export type Happening = RunEvent extends infer E ? (E extends RunEvent ? Omit<E, "atMs"> : never) : never;

export interface OrchestratorOptions {
  readonly store: Store;
  readonly identity: Identity;
  readonly networkId: string;
  /** Used when the run does not exist yet. */
  readonly definition: RunDefinition;
  /** Milliseconds since 1970, never running backwards while the process lives. */
  readonly clock: () => number;
  readonly log: (text: string) => void;
  /** The log can no longer be written, for a reason that will not pass: what happens from here on would be forgotten. */
  readonly onFailed: (error: unknown) => void;
  /** Events between two snapshots. */
  readonly snapshotInterval?: number;
  /** Between two tries to write to a full disk. */
  readonly diskFullPauseMs?: number;
}

export interface OrchestratorListener {
  send(to: MinerId, message: GatewayMessage): void;
  receipt(receipt: SignedReceipt): void;
  /** After every tick, with what the core wants done by others than miners. */
  changed(state: RunState, effects: readonly Effect[]): void;
  /** Nothing is decided at present, whatever comes in, and this is why. Said again and again until it has passed. */
  stoodStill(reason: string): void;
}

/** Replay of so many events takes well under a second. */
const defaultSnapshotInterval = 500;
/** A full disk may be cleared by somebody. */
const defaultDiskFullPauseMs = 5000;
const diskFull = "The network's disk is full: the run stands still until there is space again.";
/** Node's timers overflow beyond this. */
const longestTimerMs = 2 ** 31 - 1;

export class Orchestrator {
  readonly #options: OrchestratorOptions;
  readonly #queue: RunEvent[] = [];
  readonly #listeners: Partial<OrchestratorListener>[] = [];
  /** One roster goes to many. */
  readonly #rosterSignatures = new WeakMap<Roster, Uint8Array<ArrayBuffer>>();
  #state: RunState;
  #ticking: Promise<void> | null = null;
  #timer: NodeJS.Timeout | undefined;
  #eventsSinceSnapshot: number;
  /** How far the computer's clock was set back since the last event of an earlier process. */
  readonly #behindMs: number;
  #closed = false;

  private constructor(options: OrchestratorOptions, state: RunState, stored?: StoredRun) {
    this.#options = options;
    this.#state = state;
    this.#eventsSinceSnapshot = stored?.events.length ?? 0;
    this.#behindMs = Math.max(0, (stored?.lastEventAtMs ?? 0) - options.clock());
  }

  /** Creates the run, or takes it up where its log ends. Rejects with the store's failures. */
  static async open(options: OrchestratorOptions): Promise<Orchestrator> {
    const { store, definition, clock } = options;
    const { runId } = definition;
    const stored = await store.loadRun(runId);
    if (stored === undefined) {
      const state = createRun(definition, clock());
      await store.commit({ runId, events: [], transfers: [], receipts: [], snapshot: state });
      return new Orchestrator(options, state);
    }
    const replayed = stored.events.reduce((state, event) => apply(state, event).state, stored.snapshot);
    const orchestrator = new Orchestrator(options, replayed, stored);
    orchestrator.submit({ type: "restarted" });
    if (stored.damagedSnapshots > 0) orchestrator.#replaceSnapshots(stored.damagedSnapshots);
    await orchestrator.settled();
    return orchestrator;
  }

  /** As far as it is on disk. */
  get state(): RunState {
    return this.#state;
  }

  listen(listener: Partial<OrchestratorListener>): void {
    this.#listeners.push(listener);
  }

  submit(event: Happening): void {
    if (this.#closed) return;
    // A union without one of its fields, given it back: the compiler does not follow.
    this.#queue.push({ ...event, atMs: this.#now() } as RunEvent);
    this.#ticking ??= this.#tickUntilEmpty();
  }

  /** Resolves when everything submitted so far is on disk and carried out. */
  async settled(): Promise<void> {
    await this.#ticking;
  }

  /** Takes no more events; those that came before are written. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#ticking;
  }

  /** Goes on from where the log ends: a clock that was set back must not put off every deadline by as much, nor turn history round. */
  #now(): number {
    return this.#options.clock() + this.#behindMs;
  }

  /** At once: until then the run hangs on a single snapshot. */
  #replaceSnapshots(damaged: number): void {
    this.#eventsSinceSnapshot = Number.POSITIVE_INFINITY;
    const text = `${damaged} damaged ${damaged === 1 ? "snapshot was" : "snapshots were"} made up for from the log. The disk may be failing.`;
    this.submit({ type: "noted", level: "error", text });
  }

  async #tickUntilEmpty(): Promise<void> {
    try {
      while (this.#queue.length > 0) {
        await new Promise(setImmediate);
        await this.#tick(this.#queue.splice(0));
      }
    } catch (error) {
      this.#closed = true;
      this.#options.onFailed(error);
    } finally {
      this.#ticking = null;
    }
    this.#schedule();
  }

  async #tick(events: readonly RunEvent[]): Promise<void> {
    let state = this.#state;
    const effects: Effect[] = [];
    const changes: RunEvent[] = [];
    for (const event of events) {
      const transition = apply(state, event);
      // A repeated report is answered, but what changes nothing need not be remembered.
      if (transition.state !== state) changes.push(event);
      state = transition.state;
      effects.push(...transition.effects);
    }
    const receipts = this.#sign(effects);
    const count = this.#eventsSinceSnapshot + changes.length;
    const due = count >= (this.#options.snapshotInterval ?? defaultSnapshotInterval);
    if (changes.length > 0) await this.#commit(changes, receipts, due ? state : null);
    this.#eventsSinceSnapshot = due ? 0 : count;
    this.#logNew(this.#state, state);
    this.#state = state;
    this.#carryOut(effects, receipts);
  }

  async #commit(
    events: readonly RunEvent[],
    receipts: readonly SignedReceipt[],
    snapshot: RunState | null,
  ): Promise<void> {
    const { runId } = this.#state.definition;
    const transfers = receipts.map(({ receipt }) => creditTransfer(receipt));
    const { log, diskFullPauseMs = defaultDiskFullPauseMs } = this.#options;
    for (let tries = 0; ; tries++) {
      try {
        await this.#options.store.commit({ runId, events, transfers, receipts, snapshot });
        if (tries > 0) log("There is space again: the run goes on.");
        return;
      } catch (error) {
        if (failureOf(error)?.code !== "disk-full" || this.#closed) throw error;
        if (tries === 0) log(diskFull);
        for (const listener of this.#listeners) listener.stoodStill?.(diskFull);
        await new Promise((resolve) => setTimeout(resolve, diskFullPauseMs));
      }
    }
  }

  #sign(effects: readonly Effect[]): SignedReceipt[] {
    const { identity, networkId } = this.#options;
    return effects.flatMap((effect) => {
      if (effect.type !== "credit") return [];
      const receipt = { networkId, ...effect.receipt };
      return [{ receipt, signature: Uint8Array.from(identity.sign(receiptBytes(receipt))) }];
    });
  }

  #carryOut(effects: readonly Effect[], receipts: readonly SignedReceipt[]): void {
    const messages = effects.flatMap((effect) =>
      effect.type === "send" ? [{ to: effect.to, message: this.#signed(effect.message) }] : [],
    );
    for (const listener of this.#listeners) {
      for (const { to, message } of messages) listener.send?.(to, message);
      for (const receipt of receipts) listener.receipt?.(receipt);
      listener.changed?.(this.#state, effects);
    }
  }

  /** Nobody but the network says who is on a roster. */
  #signed(message: OrchestratorMessage): GatewayMessage {
    if (message.type !== "start" && message.type !== "roster") return message;
    const { at, roster } = message;
    const known = this.#rosterSignatures.get(roster);
    const signature = known ?? Uint8Array.from(this.#options.identity.sign(rosterBytes(at, roster)));
    this.#rosterSignatures.set(roster, signature);
    return { ...message, signature };
  }

  #logNew(before: RunState, after: RunState): void {
    const { runId } = after.definition;
    for (const { sequence, level, text } of after.log)
      if (sequence >= before.nextLogSequence)
        this.#options.log(`${runId}: ${level === "info" ? "" : `${level}: `}${text}`);
  }

  /** One timer, for the state's next deadline. */
  #schedule(): void {
    clearTimeout(this.#timer);
    const deadlineMs = nextDeadlineMs(this.#state);
    if (deadlineMs === null || this.#closed) return;
    const waitMs = Math.min(Math.max(0, Math.ceil(deadlineMs - this.#now())), longestTimerMs);
    this.#timer = setTimeout(() => this.submit({ type: "deadline" }), waitMs);
  }
}

/** The wall clock at the start and the monotonic one from there: a clock that is set must not end or stretch a phase. */
export function monotonicClock(): () => number {
  const startMs = Date.now() - performance.now();
  return () => Math.round(startMs + performance.now());
}
