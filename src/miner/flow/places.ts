/**
 * A miner's places: whether it asks for any, what it does when the network, a person or a failure takes them away, and which of its
 * replicas a message is for. `held-places.ts` has the replicas. The folder trains: it knows messages and peers, not sockets or
 * processes.
 */
import type { Failure } from "../../protocol/failure.ts";
import type { GatewayMessage } from "../../protocol/gateway-messages.ts";
import { type MinerId, type RunId, samePlace } from "../../protocol/ids.ts";
import type { MinerState } from "../../protocol/machine-view.ts";
import { type Roster, rosterBytes } from "../../protocol/roster.ts";
import type { PeerLink } from "../../transport/peer-link.ts";
import type { EngineSource } from "../compute-host/compute-worker.ts";
import { DropLog } from "../drop-log.ts";
import { type SnapshotOrder, Snapshots } from "../snapshots/snapshots.ts";
import type { ReplicaOptions } from "./epoch-acts.ts";
import { type Held, HeldPlaces } from "./held-places.ts";
import { type Damage, Mailroom } from "./mailroom.ts";
import { Peers } from "./peers.ts";
import { holdsState, workingState } from "./phase.ts";
import type { Place } from "./place.ts";
import { Recovery } from "./recovery.ts";
import { type Pauses, Repetition } from "./repetition.ts";
import { type EpochMessage, Replica } from "./replica.ts";

type EpochOrder = Place | EpochMessage;
type IdleMessage = Extract<GatewayMessage, { type: "idle" }>;

export interface PlacesOptions extends Omit<ReplicaOptions, "engines" | "peers"> {
  /** A compute worker for one replica. */
  readonly openEngines: () => EngineSource;
  /** Whether this is the network's signature. */
  readonly isSigned: (bytes: Uint8Array, signature: Uint8Array) => boolean;
  readonly onState: () => void;
  /** Who takes part in the epoch with this miner, by a roster that the network has signed; nobody, while it has no place. */
  readonly onRoster: (members: ReadonlySet<MinerId>) => void;
}

/** Whether the miner works, apart from what its replicas do. */
type Standing =
  /** Shall not work, and `reason` says why. */
  | { readonly kind: "paused"; readonly reason: string }
  /** Works where it has a place; without one, `reason` says what it waits for. */
  | { readonly kind: "waiting"; readonly reason: string }
  /** It failed too often, and needs a person. */
  | { readonly kind: "stopped"; readonly reason: string };

const rejoinPauses: Pauses = { firstMs: 1000, longestMs: 5000 };
/** Who was told that there is no place asks again all the same: the message that there is one may be lost. */
const idleRejoinPauses: Pauses = { firstMs: 60_000, longestMs: 60_000 };
export class Places {
  readonly #options: PlacesOptions;
  readonly #held: HeldPlaces;
  readonly #peers: Peers;
  readonly #mailroom: Mailroom;
  readonly #recovery: Recovery;
  readonly #snapshots: Snapshots;
  /** `join`, until it is answered. */
  readonly #asking: Repetition;
  #standing: Standing = { kind: "paused", reason: "Not asked to train yet." };
  /** Why there is no session; null while there is one. */
  #offline: string | null = "Looking for the network.";
  /** Resolved when the hand-over before a pause is over. */
  #leaving: PromiseWithResolvers<void> | null = null;

  constructor(options: PlacesOptions) {
    const { self, clock, peerBlobs, log } = options;
    const drops = new DropLog((text) => log("warning", text));
    this.#options = options;
    this.#recovery = new Recovery(clock);
    this.#asking = new Repetition(clock);
    this.#held = new HeldPlaces({
      clock,
      open: (place) => this.#open(place),
      isPausing: () => this.#recovery.isPausing,
      changed: () => this.#changed(),
    });
    this.#snapshots = new Snapshots(options, (stage, weightsHash) => {
      return this.#held.of(stage)?.engineHolding(weightsHash) ?? null;
    });
    this.#peers = new Peers(self, (message) => this.#mailroom.receive(message));
    this.#mailroom = new Mailroom({
      peers: this.#peers,
      replicaOf: (stage) => this.#held.of(stage),
      receiveBlob: (message) => peerBlobs.receive(message),
      dropped: (from, reason) => drops.dropped(from, reason),
    });
  }

  get state(): MinerState {
    if (this.#standing.kind !== "waiting") return this.#standing;
    if (this.#offline !== null) return { kind: "connecting", reason: this.#offline };
    return workingState(this.#replicas.map(({ phase }) => phase)) ?? this.#standing;
  }

  /** The places that the miner has, lowest stage first. */
  get places(): readonly Place[] {
    return this.#replicas.map(({ phase }) => phase.place).toSorted((a, b) => a.stage.index - b.stage.index);
  }

  /** Messages of this peer that were not what it signed. */
  damagedFrom(peer: MinerId): Damage {
    return this.#mailroom.damagedFrom(peer);
  }

  /** Process ids of the live compute workers. */
  get workers(): readonly number[] {
    return this.#held.workers;
  }

  /** A session was opened. What the replicas hold they hold still. */
  connected(link: PeerLink): void {
    const { peerBlobs } = this.#options;
    this.#offline = null;
    link.onMessage((message) => this.#mailroom.receive(message));
    link.onPeerLost((peer) => {
      peerBlobs.peerLost(peer);
      for (const replica of this.#replicas) replica.peerLost(peer);
    });
    this.#peers.connected(link);
    peerBlobs.connected(link);
    for (const replica of this.#replicas) replica.connected();
    if (this.#isAtWork) this.#ask();
    for (const replica of this.#replicas) replica.sayAgain();
    this.#changed();
  }

  disconnected(reason: string): void {
    this.#offline = reason;
    this.#peers.disconnected();
    this.#options.peerBlobs.disconnected();
    this.#asking.end();
    for (const replica of this.#replicas) replica.disconnected();
    this.#changed();
  }

  /** Asks for places, unless it has some or is about to get them. */
  join(): void {
    if (this.#leaving !== null) this.#depart("Asked to train again.");
    if (this.#isAtWork) return;
    this.#recovery.succeeded(); // a person wants another try
    this.#standing = { kind: "waiting", reason: "Waiting for a place in a run." };
    this.#ask();
    this.#changed();
  }

  /** Takes nothing new, hands over what is in flight within the time given, and gives the places up. */
  async leave(reason: string, graceMs: number): Promise<void> {
    const wasAtWork = this.#isAtWork;
    this.#standing = { kind: "paused", reason };
    this.#asking.end();
    this.#recovery.cancel();
    this.#held.forgetWaiting();
    this.#changed();
    if (wasAtWork) {
      const leaving = Promise.withResolvers<void>();
      this.#leaving = leaving;
      const stopTimer = this.#options.clock.after(graceMs, leaving.resolve);
      Promise.all(this.#replicas.map((replica) => replica.handOver())).then(() => leaving.resolve(), leaving.reject);
      await leaving.promise;
      stopTimer();
      if (this.#leaving === leaving) this.#depart(reason);
    } else await this.#leaving?.promise;
  }

  handle(message: EpochOrder | SnapshotOrder | IdleMessage): void {
    const { log, isSigned } = this.#options;
    if (message.type === "prepare") {
      if (!this.#isAtWork || !this.#held.prepare(message)) return;
      this.#asking.end();
      this.#snapshots.epochBegins(message.at);
    } else if (
      message.type === "take-snapshot" ||
      message.type === "store-checkpoint" ||
      message.type === "abandon-checkpoint"
    )
      this.#snapshots.handle(message);
    else if (message.type === "idle") {
      if (this.#isAtWork) this.#idle(message.reason);
    } else if (
      (message.type === "start" || message.type === "roster") &&
      !isSigned(rosterBytes(message.at, message.roster), message.signature)
    )
      log("warning", `A roster for epoch ${message.at.epoch} is not signed by this network.`);
    else this.#advance(message);
  }

  /** The miner works for this run from here on, or for none: what it has of others ends. */
  assigned(runId: RunId | null): void {
    this.#held.endOthersThan(runId);
    this.#snapshots.dropOthersThan(runId);
    this.#changed();
  }

  /** Ends everything, at once. */
  async close(): Promise<void> {
    this.#snapshots.dropOthersThan(null);
    this.#held.endAll();
    await this.#held.ended();
  }

  get #replicas(): readonly Replica[] {
    return this.#held.replicas;
  }

  get #isAtWork(): boolean {
    return this.#standing.kind === "waiting";
  }

  #advance(message: EpochMessage): void {
    const replica = this.#held.of(message.at.stage);
    if (replica === undefined || !samePlace(replica.phase.place.at, message.at)) return;
    this.#asking.end();
    if (message.type === "start" || message.type === "roster") this.#options.onRoster(membersOf(message.roster));
    replica.handle(message);
  }

  #idle(reason: string): void {
    this.#asking.begin(() => this.#join(), idleRejoinPauses, "later");
    this.#held.endAll();
    this.#options.onRoster(new Set());
    if (!this.#recovery.isPausing) this.#standing = { kind: "waiting", reason };
    this.#changed();
  }

  #open(place: Place): Held {
    const { openEngines, onState, onRoster, isSigned, ...options } = this.#options;
    const engines = openEngines();
    const replica = new Replica({ ...options, engines, peers: this.#peers }, place, {
      changed: () => this.#changed(),
      failed: (failure) => this.#failed(failure),
      merged: () => this.#recovery.succeeded(),
    });
    replica.prepare(place);
    return { replica, engines };
  }

  /** After a pause a place is asked for again, unless replicas have failed too often. */
  #failed(failure: Failure): void {
    if (!this.#isAtWork) return;
    const triesAgain = this.#recovery.begin(failure, () => {
      this.#held.takeWaiting();
      if (this.#replicas.some(({ phase }) => phase.kind === "failed")) this.#ask();
    });
    if (triesAgain) this.#standing = { kind: "waiting", reason: `${failure.message} Trying again soon.` };
    else {
      const reason = `It failed several times in a row: ${failure.message}`;
      this.#depart(reason);
      this.#standing = { kind: "stopped", reason };
    }
    this.#changed();
  }

  /** Gives up all places, and says so. */
  #depart(reason: string): void {
    const leaving = this.#leaving;
    this.#leaving = null;
    leaving?.resolve();
    this.#snapshots.dropOthersThan(null);
    this.#held.endAll();
    this.#asking.end();
    this.#options.onRoster(new Set());
    this.#options.send({ type: "leave", reason: reason.slice(0, 200) });
    this.#changed();
  }

  #ask(): void {
    if (this.#offline === null) this.#asking.begin(() => this.#join(), rejoinPauses);
  }

  #join(): void {
    const { device, send } = this.#options;
    const phases = this.#replicas.map(({ phase }) => phase);
    send({ type: "join", device, held: phases.filter(holdsState).map(({ place }) => place.at) });
  }

  #changed(): void {
    const { activity, clock, onState } = this.#options;
    activity.training(
      this.#replicas.some(({ phase }) => phase.kind === "training"),
      clock.nowMs(),
    );
    onState();
  }
}

function membersOf({ stages }: Roster): ReadonlySet<MinerId> {
  return new Set(stages.flat().map(({ minerId }) => minerId));
}
