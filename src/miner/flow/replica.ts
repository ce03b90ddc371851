/**
 * A replica's life, as `docs/protocol.md` tells it: join, then prepare → ready → start … source-done → upload → contributed →
 * merge → merged → store-checkpoint → stored, and again. This file decides when it has a place; `epoch-acts.ts` and
 * `../merge/merge-acts.ts` what it does there. The folder trains: it knows messages and peers, not sockets or processes.
 */

import { assertNever } from "../../protocol/assert-never.ts";
import type { Failure } from "../../protocol/failure.ts";
import { sameEpoch } from "../../protocol/ids.ts";
import type { MinerState } from "../../protocol/local-api.ts";
import type { GatewayMessage } from "../../protocol/messages.ts";
import type { PeerLink } from "../../transport/peer-link.ts";
import { MergeActs } from "../merge/merge-acts.ts";
import { EpochActs, type ReplicaOptions } from "./epoch-acts.ts";
import { minerState, type Phase, placeOf } from "./phase.ts";
import { PhaseKeeper } from "./phase-keeper.ts";
import type { Place } from "./place.ts";
import { crash, failureFrom, Recovery } from "./recovery.ts";
import { Holding } from "./starting-state.ts";

/** Messages that lead a replica through an epoch. */
export type EpochMessage = Extract<
  GatewayMessage,
  { type: "prepare" | "start" | "roster" | "upload" | "merge" | "store-checkpoint" | "idle" }
>;

export class Replica {
  readonly #options: ReplicaOptions;
  readonly #phases: PhaseKeeper;
  readonly #acts: EpochActs;
  readonly #mergeActs: MergeActs;
  readonly #recovery: Recovery;
  #link: PeerLink | null = null;

  constructor(options: ReplicaOptions) {
    this.#options = options;
    this.#recovery = new Recovery(options.clock);
    this.#phases = new PhaseKeeper(
      { kind: "paused", reason: "Not asked to train yet." },
      { entered: (phase) => this.#entered(phase), failed: (error) => this.#failed(failureFrom(error)) },
    );
    const holding = new Holding();
    this.#acts = new EpochActs(options, this.#phases, holding);
    this.#mergeActs = new MergeActs(options, this.#phases, holding, () => this.#recovery.succeeded());
    options.engines.onCrash((message) => {
      if (placeOf(this.#phases.phase) !== null) this.#failed(crash(message));
    });
  }

  get state(): MinerState {
    return minerState(this.#phases.phase);
  }

  get place(): Place | null {
    return placeOf(this.#phases.phase);
  }

  /** A session was opened: whatever place there was belonged to the one before. */
  connected(link: PeerLink): void {
    this.#link = link;
    link.onMessage((message) => this.#acts.receive(message));
    link.onPeerLost((peer) => {
      const { phase } = this.#phases;
      if (phase.kind === "training") phase.training.peerLost(peer);
    });
    if (this.#phases.phase.kind === "connecting") this.#askForPlace();
  }

  disconnected(reason: string): void {
    this.#link = null;
    if (!this.#isAtRest()) this.#phases.enter({ kind: "connecting", reason });
  }

  /** Asks for a place, unless it has one or is about to get one. */
  join(): void {
    if (!this.#isAtRest()) return;
    this.#recovery.succeeded(); // a person wants another try
    this.#askForPlace();
  }

  leave(reason: string): void {
    const before = this.#phases.phase.kind;
    this.#phases.enter({ kind: "paused", reason });
    if (before !== "paused") this.#options.send({ type: "leave", reason: reason.slice(0, 200) });
  }

  /** Resolves when nothing is half handed over. */
  async handedOver(): Promise<void> {
    const handingOver: Phase["kind"][] = ["uploading", "merging", "storing"];
    while (handingOver.includes(this.#phases.phase.kind)) await this.#phases.changed();
  }

  handle(message: EpochMessage): void {
    if (this.#isAtRest()) return; // sent before our `leave` arrived
    if (message.type === "prepare") this.#prepare(message);
    else if (message.type === "idle") this.#idle(message.reason);
    else this.#advance(message);
  }

  #prepare(place: Place): void {
    if (this.#phases.phase.kind === "recovering") this.#recovery.postpone(() => this.#acts.prepare(place));
    else this.#acts.prepare(place);
  }

  #idle(reason: string): void {
    if (this.#phases.phase.kind !== "recovering") this.#phases.enter({ kind: "waiting", reason });
  }

  /** The next act of the epoch that this replica has a place in; messages about another one are ignored. */
  #advance(message: Exclude<EpochMessage, { type: "prepare" | "idle" }>): void {
    const { phase } = this.#phases;
    const place = placeOf(phase);
    if (place === null || !sameEpoch(place.at, message.at)) return;
    switch (message.type) {
      case "start":
        if (this.#link !== null) this.#acts.start(message.roster, this.#link);
        break;
      case "roster":
        if (phase.kind === "training") phase.training.update(message.roster);
        break;
      case "upload":
        this.#mergeActs.upload(place);
        break;
      case "merge":
        this.#mergeActs.merge(place, message);
        break;
      case "store-checkpoint":
        this.#mergeActs.store(place);
        break;
      default:
        assertNever(message);
    }
  }

  #askForPlace(): void {
    if (this.#link === null) this.#phases.enter({ kind: "connecting", reason: "Looking for the network." });
    else {
      this.#phases.enter({ kind: "waiting", reason: "Waiting for a place in a run." });
      this.#options.send({ type: "join", device: this.#options.device });
    }
  }

  /** Gives the place up for now; after a pause the replica asks for one again, unless it has failed too often. */
  #failed(failure: Failure): void {
    const { send, log, engines } = this.#options;
    const place = placeOf(this.#phases.phase);
    log("error", `${failure.message} ${failure.action}`.trim());
    if (failure.code === "compute-crashed") engines.discard();
    const signal = this.#phases.enter({ kind: "recovering", failure });
    if (place !== null) send({ type: "failed", at: place.at, failure });
    const triesAgain = this.#recovery.begin(failure, signal, (postponed) => {
      if (postponed === null) this.#askForPlace();
      else postponed();
    });
    if (triesAgain) return;
    const reason = `It failed several times in a row: ${failure.message}`;
    this.#phases.enter({ kind: "stopped", reason });
    send({ type: "leave", reason: reason.slice(0, 200) });
  }

  /** Neither works nor shall. */
  #isAtRest(): boolean {
    const { kind } = this.#phases.phase;
    return kind === "paused" || kind === "stopped";
  }

  #entered(phase: Phase): void {
    const { activity, clock, onState } = this.#options;
    activity.training(phase.kind === "training", clock.nowMs());
    if (phase.kind !== "training") activity.microbatchesInFlight = 0;
    onState(minerState(phase));
  }
}
