/**
 * A replica's life, as `docs/protocol.md` tells it: join, then prepare → ready → start … source-done → upload → contributed →
 * merge → merged → store-checkpoint → stored, and again. This file decides when it has a place; `epoch-acts.ts` and
 * `../merge/merge-acts.ts` what it does there. The folder trains: it knows messages and peers, not sockets or processes.
 */

import { assertNever } from "../../protocol/assert-never.ts";
import { type Failure, failureOf } from "../../protocol/failure.ts";
import { type MinerId, samePlace, shortId } from "../../protocol/ids.ts";
import type { MinerState } from "../../protocol/local-api.ts";
import { decodeBody, encodeBody, type MergeMessage, mergeMessageSchema } from "../../protocol/merge-messages.ts";
import type { GatewayMessage, Roster } from "../../protocol/messages.ts";
import type { PeerLink, PeerMessage } from "../../transport/peer-link.ts";
import { MergeActs, type Trained } from "../merge/merge-acts.ts";
import { EpochActs, type ReplicaOptions } from "./epoch-acts.ts";
import { minerState, type Phase, placeOf } from "./phase.ts";
import { PhaseKeeper } from "./phase-keeper.ts";
import type { Place } from "./place.ts";
import { crash, failureFrom, Recovery } from "./recovery.ts";
import { Holding } from "./starting-state.ts";

/** Messages that lead a replica through an epoch. */
export type EpochMessage = Extract<
  GatewayMessage,
  { type: "prepare" | "start" | "roster" | "upload" | "reduce" | "apply" | "store-checkpoint" | "idle" }
>;

const untrained: Trained = { meanLossNats: null, computeMs: 0 };

export class Replica {
  readonly #options: ReplicaOptions;
  readonly #phases: PhaseKeeper;
  readonly #acts: EpochActs;
  readonly #mergeActs: MergeActs;
  readonly #recovery: Recovery;
  #link: PeerLink | null = null;
  #roster: Roster | null = null;

  constructor(options: ReplicaOptions) {
    this.#options = options;
    this.#recovery = new Recovery(options.clock);
    this.#phases = new PhaseKeeper(
      { kind: "paused", reason: "Not asked to train yet." },
      { entered: (phase) => this.#entered(phase), failed: (error) => this.#failed(failureFrom(error)) },
    );
    const holding = new Holding();
    this.#acts = new EpochActs(options, this.#phases, holding);
    const surroundings = {
      ...options,
      tell: (to: MinerId, message: MergeMessage) => this.#tell(to, message),
      isLive: (miner: MinerId) => this.#isLive(miner),
    };
    this.#mergeActs = new MergeActs(surroundings, this.#phases, holding, () => this.#recovery.succeeded());
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
    this.#options.peerBlobs.connected(link);
    this.#mergeActs.lookAgain();
    link.onMessage((message) => this.#receive(message));
    link.onPeerLost((peer) => {
      this.#options.peerBlobs.peerLost(peer);
      const { phase } = this.#phases;
      if (phase.kind === "training") phase.training.peerLost(peer);
    });
    if (this.#phases.phase.kind === "connecting") this.#askForPlace();
  }

  disconnected(reason: string): void {
    this.#link = null;
    this.#options.peerBlobs.disconnected();
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

  #receive(message: PeerMessage): void {
    if (message.kind === "blob-request" || message.kind === "blob-part") this.#options.peerBlobs.receive(message);
    else if (message.kind === "merge") this.#receiveMerge(message);
    else this.#acts.receive(message);
  }

  #receiveMerge({ from, body }: PeerMessage): void {
    try {
      this.#mergeActs.receive(from, decodeBody(mergeMessageSchema, body));
    } catch (error) {
      if (failureOf(error) === undefined) throw error;
      this.#options.log("warning", `Dropped a message of ${shortId(from)}: ${failureFrom(error).message}`);
    }
  }

  async #tell(to: MinerId, message: MergeMessage): Promise<void> {
    try {
      await this.#link?.send(to, "merge", encodeBody(message));
    } catch (error) {
      if (failureOf(error) === undefined) throw error;
    }
  }

  #isLive(miner: MinerId): boolean {
    const stage = this.place?.stage.index;
    const replicas = stage === undefined ? undefined : this.#roster?.stages[stage];
    return replicas?.some(({ minerId }) => minerId === miner) ?? true;
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
    if (place === null || !samePlace(place.at, message.at)) return;
    switch (message.type) {
      case "start":
        this.#roster = message.roster;
        if (this.#link !== null) this.#acts.start(message.roster, this.#link);
        break;
      case "roster":
        this.#roster = message.roster;
        if (phase.kind === "training") phase.training.update(message.roster);
        this.#mergeActs.lookAgain();
        break;
      case "upload":
      case "reduce":
      case "apply":
      case "store-checkpoint":
        this.#mergeActs.handle(place, message, phase.kind === "training" ? phase.training.trained : untrained);
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
    this.#mergeActs.entered(phase);
    activity.training(phase.kind === "training", clock.nowMs());
    if (phase.kind !== "training") activity.microbatchesInFlight = 0;
    onState(minerState(phase));
  }
}
