/**
 * A replica's life, as `docs/protocol.md` tells it: prepare → ready → start … source-done → upload → contributed → merge →
 * merged → store-checkpoint → stored, and again. This folder trains; it knows messages and peers, not sockets or processes.
 *
 * At any time the replica is in one `Phase`. Entering a phase calls off everything that the one before had under way.
 */
import type { Failure } from "../../protocol/failure.ts";
import { assertNever, type MinerId, sameEpoch, shortId } from "../../protocol/ids.ts";
import type { LogLine, MinerState } from "../../protocol/local-api.ts";
import type { ClientMessage, DeviceReport, GatewayMessage, Roster } from "../../protocol/messages.ts";
import type { BlobClient } from "../../transport/blobs/blob-client.ts";
import type { PeerLink, PeerMessage } from "../../transport/peer-link.ts";
import type { ComputeEngine, EngineSource } from "../compute-host/compute-worker.ts";
import { openSamples } from "../data/samples-from-blobs.ts";
import type { Clock } from "../session/clock.ts";
import type { Activity } from "./activity.ts";
import { ComputeQueue } from "./compute-queue.ts";
import { DropLog } from "./drop-log.ts";
import { EarlyMessages } from "./early-messages.ts";
import { handIn, type MergeOrder, merge, storeState } from "./merge.ts";
import { minerState, type Phase, placeOf } from "./phase.ts";
import { holdsFirstStage, holdsLastStage, type Place } from "./place.ts";
import { reportProgress } from "./progress.ts";
import { Recovery } from "./recovery.ts";
import { Routes } from "./routes.ts";
import { type HeldState, holdsStartOf, loadStart } from "./starting-state.ts";
import { Training } from "./training.ts";

export interface ReplicaOptions {
  readonly self: MinerId;
  readonly device: DeviceReport;
  readonly threads: number;
  readonly engines: EngineSource;
  readonly blobs: Pick<BlobClient, "get" | "take" | "put">;
  readonly activity: Activity;
  readonly clock: Clock;
  readonly send: (message: ClientMessage) => void;
  readonly onState: (state: MinerState) => void;
  readonly log: (level: LogLine["level"], text: string) => void;
}

/** Messages that lead a replica through an epoch. */
export type EpochMessage = Extract<
  GatewayMessage,
  { type: "prepare" | "start" | "roster" | "upload" | "merge" | "store-checkpoint" | "idle" }
>;

export class Replica {
  readonly #options: ReplicaOptions;
  readonly #recovery: Recovery;
  readonly #drops: DropLog;
  #phase: Phase = { kind: "paused", reason: "Not asked to train yet." };
  /** Aborted when the phase ends. */
  #current = new AbortController();
  #link: PeerLink | null = null;
  #held: HeldState | null = null;
  /** Last stage only: the epoch's loss so far. */
  #lossSumNats: number | null = null;
  #onEntered: () => void = () => {};

  constructor(options: ReplicaOptions) {
    this.#options = options;
    this.#recovery = new Recovery(options.clock);
    this.#drops = new DropLog((text) => options.log("warning", text));
    options.engines.onCrash((message) => {
      if (placeOf(this.#phase) !== null) this.#failed(this.#recovery.crash(message));
    });
  }

  get state(): MinerState {
    return minerState(this.#phase);
  }

  /** A session was opened: whatever place there was belonged to the one before. */
  connected(link: PeerLink): void {
    this.#link = link;
    link.onMessage((message) => this.#receive(message));
    link.onPeerLost((peer) => {
      if (this.#phase.kind === "training") this.#phase.training.peerLost(peer);
    });
    if (this.#phase.kind === "connecting") this.#askForPlace();
  }

  disconnected(reason: string): void {
    this.#link = null;
    if (this.#phase.kind !== "paused" && this.#phase.kind !== "stopped") this.#enter({ kind: "connecting", reason });
  }

  join(): void {
    this.#recovery.forgive();
    this.#askForPlace();
  }

  leave(reason: string): void {
    this.#enter({ kind: "paused", reason });
    this.#options.send({ type: "leave", reason: reason.slice(0, 200) });
  }

  /** Resolves when nothing is half handed over. */
  async handedOver(): Promise<void> {
    const busy: Phase["kind"][] = ["uploading", "merging", "storing"];
    while (busy.includes(this.#phase.kind))
      await new Promise<void>((resolve) => {
        this.#onEntered = resolve;
      });
  }

  handle(message: EpochMessage): void {
    if (this.#phase.kind === "paused" || this.#phase.kind === "stopped") return; // sent before our `leave` arrived
    if (message.type === "prepare") this.#prepare(message);
    else if (message.type === "idle") this.#idle(message.reason);
    else this.#advance(message);
  }

  /** The next act of the epoch that this replica has a place in. */
  #advance(message: Exclude<EpochMessage, { type: "prepare" | "idle" }>): void {
    const place = placeOf(this.#phase);
    if (place === null || !sameEpoch(place.at, message.at)) return;
    switch (message.type) {
      case "start":
        this.#start(message.roster);
        break;
      case "roster":
        if (this.#phase.kind === "training") this.#phase.training.update(message.roster);
        break;
      case "upload":
        this.#upload(place);
        break;
      case "merge":
        this.#merge(place, message);
        break;
      case "store-checkpoint":
        this.#store(place);
        break;
      default:
        assertNever(message);
    }
  }

  #idle(reason: string): void {
    if (this.#phase.kind !== "recovering") this.#enter({ kind: "waiting", reason });
  }

  #prepare(place: Place): void {
    if (this.#phase.kind === "recovering") {
      this.#recovery.postpone(() => this.#prepare(place));
      return;
    }
    const { engines, blobs, device, threads, send } = this.#options;
    const signal = this.#enter({ kind: "preparing", place });
    this.#work(signal, async () => {
      const engine = engines.engine();
      const samples = await openSamples(blobs, place.dataset.manifest, place.model, place.training, signal);
      if (!holdsStartOf(place, this.#held, engine)) {
        this.#held = null;
        const held = await loadStart(place, engine, { backend: device.backend, threads }, blobs, signal);
        signal.throwIfAborted();
        this.#held = held;
      }
      this.#lossSumNats = null;
      this.#enter({ kind: "ready", place, samples, early: new EarlyMessages() });
      send({ type: "ready", at: place.at, weightsHash: this.#heldState().weightsHash });
    });
  }

  #start(roster: Roster): void {
    if (this.#phase.kind !== "ready" || this.#link === null) return;
    const { place, samples, early } = this.#phase;
    const { self, activity, clock, send } = this.#options;
    if (!roster.stages[place.stage.index]?.includes(self)) return; // too late for this epoch; the next one comes
    const { engine, memoryBytes } = this.#heldState();
    this.#held = { ...this.#heldState(), epoch: null }; // training changes the weights
    const signal = this.#callOff();
    const training = new Training({
      place,
      self,
      routes: new Routes(roster, self),
      compute: new ComputeQueue(engine, signal),
      samples,
      link: this.#link,
      activity,
      clock,
      signal,
      dropped: (from, reason) => this.#drops.dropped(from, reason),
      failed: (error) => this.#failed(this.#recovery.failureOf(error)),
    });
    this.#show({ kind: "training", place, training });
    reportProgress({ place, training, activity, memoryBytes, clock, send, signal });
    for (const message of early.takeAll()) training.receive(message);
    this.#work(signal, async () => {
      await training.run();
      if (!holdsFirstStage(place)) return;
      const { microbatchesDone, microbatchesLost } = training.tally;
      send({ type: "source-done", at: place.at, microbatchesDone, microbatchesLost });
    });
  }

  #upload(place: Place): void {
    if (this.#phase.kind !== "ready" && this.#phase.kind !== "training") return;
    if (this.#phase.kind === "training" && holdsLastStage(place))
      this.#lossSumNats = this.#phase.training.tally.lossSumNats;
    const signal = this.#enter({ kind: "uploading", place });
    this.#work(signal, async () => {
      const handedIn = await handIn(place, this.#engine(), this.#options.blobs, signal);
      signal.throwIfAborted();
      const { blob, contribution } = handedIn;
      this.#enter({ kind: "contributed", place, handedIn });
      this.#options.send({
        type: "contributed",
        at: place.at,
        blob,
        tokens: contribution.tokens,
        lossSumNats: this.#lossSumNats,
      });
    });
  }

  /** Also after a contribution that came too late: the replica merges the others' and is in step again. */
  #merge(place: Place, order: MergeOrder): void {
    const { kind } = this.#phase;
    if (kind !== "ready" && kind !== "training" && kind !== "uploading" && kind !== "contributed") return;
    const own = this.#phase.kind === "contributed" ? this.#phase.handedIn : null;
    const signal = this.#enter({ kind: "merging", place });
    this.#work(signal, async () => {
      const held = this.#heldState();
      this.#held = { ...held, epoch: null };
      const weightsHash = await merge(order, place, own, held.engine, this.#options.blobs, signal);
      signal.throwIfAborted();
      this.#held = { ...held, epoch: place.at.epoch + 1, weightsHash };
      this.#recovery.succeeded();
      this.#options.log("debug", `Merged epoch ${place.at.epoch}: weights ${shortId(weightsHash)}.`);
      this.#enter({ kind: "merged", place });
      this.#options.send({ type: "merged", at: place.at, weightsHash });
    });
  }

  #store(place: Place): void {
    if (this.#phase.kind !== "merged") return;
    const signal = this.#enter({ kind: "storing", place });
    this.#work(signal, async () => {
      const refs = await storeState(this.#engine(), this.#options.blobs, signal);
      signal.throwIfAborted();
      this.#enter({ kind: "merged", place });
      this.#options.send({ type: "stored", at: place.at, ...refs });
    });
  }

  #receive(message: PeerMessage): void {
    if (this.#phase.kind === "training") this.#phase.training.receive(message);
    else if (this.#phase.kind === "ready" && !this.#phase.early.keep(message))
      this.#drops.dropped(message.from, "too much came before the start");
  }

  #askForPlace(): void {
    if (this.#link === null) this.#enter({ kind: "connecting", reason: "Looking for the network." });
    else {
      this.#enter({ kind: "waiting", reason: "Waiting for a place in a run." });
      this.#options.send({ type: "join", device: this.#options.device });
    }
  }

  /** Gives the place up for now; after a pause the replica asks for one again, unless it has failed too often. */
  #failed(failure: Failure): void {
    const { send, log, engines } = this.#options;
    const place = placeOf(this.#phase);
    log("error", `${failure.message} ${failure.action}`.trim());
    if (failure.code === "compute-crashed") engines.discard();
    const signal = this.#enter({ kind: "recovering", failure });
    if (place !== null) send({ type: "failed", at: place.at, failure });
    const again = this.#recovery.begin(signal, (resume) => {
      this.#show({ kind: "waiting", reason: "Waiting for a place in a run." });
      if (resume === null) this.#askForPlace();
      else resume();
    });
    if (again) return;
    const reason = `It failed several times in a row: ${failure.message}`;
    send({ type: "leave", reason: reason.slice(0, 200) });
    this.#enter({ kind: "stopped", reason });
  }

  /** Does a phase's work; what goes wrong in it is this replica's failure, unless the phase is over. */
  #work(signal: AbortSignal, work: () => Promise<void>): void {
    work().catch((error) => {
      if (!signal.aborted) this.#failed(this.#recovery.failureOf(error));
    });
  }

  #enter(phase: Phase): AbortSignal {
    const signal = this.#callOff();
    this.#show(phase);
    return signal;
  }

  #callOff(): AbortSignal {
    this.#current.abort();
    this.#current = new AbortController();
    return this.#current.signal;
  }

  #show(phase: Phase): void {
    const { activity, clock, onState } = this.#options;
    this.#phase = phase;
    activity.training(phase.kind === "training", clock.nowMs());
    if (phase.kind !== "training") activity.microbatchesInFlight = 0;
    this.#onEntered();
    onState(this.state);
  }

  #engine(): ComputeEngine {
    return this.#heldState().engine;
  }

  #heldState(): HeldState {
    if (this.#held === null) throw new Error(`nothing is loaded in phase ${this.#phase.kind}`);
    return this.#held;
  }
}
