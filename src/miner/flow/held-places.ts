/**
 * The replicas of a miner, by stage: made when a place is prepared, ended when the place is lost. What is prepared may have to wait:
 * for a pause after a failure, or for those that have to make way, since they take the memory that it needs.
 */
import { type EpochRef, type RunId, sameEpoch } from "../../protocol/ids.ts";
import type { EngineSource } from "../compute-host/compute-worker.ts";
import type { Clock } from "../session/clock.ts";
import { isOlder, type Place } from "./place.ts";
import type { Replica } from "./replica.ts";

export interface Held {
  readonly replica: Replica;
  readonly engines: EngineSource;
}

export interface HeldPlacesOptions {
  readonly clock: Clock;
  readonly open: (place: Place) => Held;
  /** Whether the miner pauses after a failure, and nothing new is to be begun. */
  readonly isPausing: () => boolean;
  /** Some of them have ended. */
  readonly changed: () => void;
}

/** All prepare messages of an epoch come together: a stage that is not among them is not this miner's any more. */
const settleMs = 250;

export class HeldPlaces {
  readonly #options: HeldPlacesOptions;
  readonly #held = new Map<number, Held>();
  readonly #waiting = new Map<number, Place>();
  readonly #endings = new Set<Promise<void>>();
  /** Replicas that have ended, but their workers have something to hand over. */
  #handingOver = 0;
  #newest: EpochRef | null = null;
  #stopSettling = () => {};

  constructor(options: HeldPlacesOptions) {
    this.#options = options;
  }

  get replicas(): readonly Replica[] {
    return [...this.#held.values()].map(({ replica }) => replica);
  }

  /** Process ids of their live compute workers. */
  get workers(): readonly number[] {
    return [...this.#held.values()].flatMap(({ engines }) => engines.pids);
  }

  of(stage: number): Replica | undefined {
    return this.#held.get(stage)?.replica;
  }

  /** False when it is about an earlier epoch. */
  prepare(place: Place): boolean {
    if (this.#newest !== null && isOlder(place.at, this.#newest)) return false;
    if (this.#newest === null || !sameEpoch(place.at, this.#newest)) {
      this.#newest = place.at;
      this.#stopSettling();
      this.#stopSettling = this.#options.clock.after(settleMs, () => this.#settle());
    }
    this.#waiting.set(place.stage.index, place);
    this.takeWaiting();
    return true;
  }

  /** Takes what was prepared, as far as nothing keeps it. */
  takeWaiting(): void {
    const isKnown = ({ stage }: Place) => Number(this.#held.has(stage.index));
    // Those that stay first: then it is clear whether some make way.
    for (const place of [...this.#waiting.values()].toSorted((a, b) => isKnown(b) - isKnown(a))) {
      const { index } = place.stage;
      const replica = this.of(index);
      const isNew = replica === undefined;
      const mustPause = this.#options.isPausing() && (isNew || replica.phase.kind === "failed");
      if (mustPause || (isNew && this.#makesWait())) continue;
      this.#waiting.delete(index);
      if (isNew) this.#held.set(index, this.#options.open(place));
      else replica.prepare(place);
    }
  }

  /** What has been prepared and not taken yet is forgotten. */
  forgetWaiting(): void {
    this.#waiting.clear();
  }

  endOthersThan(runId: RunId | null): void {
    for (const [stage, { at }] of [...this.#waiting]) if (at.runId !== runId) this.#waiting.delete(stage);
    for (const [stage, { replica }] of [...this.#held]) if (replica.phase.place.at.runId !== runId) this.#end(stage);
  }

  endAll(): void {
    this.#stopSettling();
    this.#waiting.clear();
    for (const stage of [...this.#held.keys()]) this.#end(stage);
    this.#newest = null;
  }

  /** Resolves when the workers of all that have ended are gone. */
  async ended(): Promise<void> {
    await Promise.all(this.#endings);
  }

  /** Whether others still have the memory that a new replica needs. */
  #makesWait(): boolean {
    return this.#handingOver > 0 || this.#outdated().length > 0;
  }

  async #closeAfter(handingOver: Promise<void>, engines: EngineSource): Promise<void> {
    this.#handingOver += 1;
    await handingOver;
    await engines.close();
    this.#handingOver -= 1;
    this.takeWaiting();
    this.#options.changed();
  }

  /** Stages that this miner had in an earlier epoch, and was not prepared for in this one. */
  #outdated(): readonly number[] {
    const newest = this.#newest;
    return [...this.#held].flatMap(([stage, { replica }]) =>
      newest === null || this.#waiting.has(stage) || sameEpoch(replica.phase.place.at, newest) ? [] : [stage],
    );
  }

  #settle(): void {
    for (const stage of this.#outdated()) this.#end(stage);
    this.takeWaiting();
    this.#options.changed();
  }

  #end(stage: number): void {
    const held = this.#held.get(stage);
    if (held === undefined) return;
    this.#held.delete(stage);
    const handingOver = held.replica.end();
    const ending = handingOver === null ? held.engines.close() : this.#closeAfter(handingOver, held.engines);
    this.#endings.add(ending);
    void ending.finally(() => this.#endings.delete(ending));
  }
}
