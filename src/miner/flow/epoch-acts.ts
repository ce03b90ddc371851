/**
 * What a replica does in an epoch, act by act: it loads the starting weights, trains, hands in its contribution, merges
 * everybody's, and stores the result. Each act is a phase of the replica, and its work ends with the phase.
 */
import { type MinerId, shortId } from "../../protocol/ids.ts";
import type { LogLine, MinerState } from "../../protocol/local-api.ts";
import type { ClientMessage, DeviceReport, Roster } from "../../protocol/messages.ts";
import type { BlobClient } from "../../transport/blobs/blob-client.ts";
import type { PeerLink, PeerMessage } from "../../transport/peer-link.ts";
import type { EngineSource } from "../compute-host/compute-worker.ts";
import { openSamples } from "../data/samples-from-blobs.ts";
import type { Clock } from "../session/clock.ts";
import type { Activity } from "./activity.ts";
import { ComputeQueue } from "./compute-queue.ts";
import { DropLog } from "./drop-log.ts";
import { EarlyMessages } from "./early-messages.ts";
import type { Tally } from "./epoch.ts";
import { handIn, type MergeOrder, merge, storeState } from "./merge.ts";
import type { PhaseKeeper } from "./phase-keeper.ts";
import { holdsFirstStage, holdsLastStage, type Place } from "./place.ts";
import { reportProgress } from "./progress.ts";
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

export class EpochActs {
  readonly #options: ReplicaOptions;
  readonly #phases: PhaseKeeper;
  readonly #onMerged: () => void;
  readonly #drops: DropLog;
  #held: HeldState | null = null;
  /** Last stage only: per token of the epoch that was trained last. */
  #meanLossNats: number | null = null;

  /** `onMerged` is called at each epoch that was brought to its end. */
  constructor(options: ReplicaOptions, phases: PhaseKeeper, onMerged: () => void) {
    this.#options = options;
    this.#phases = phases;
    this.#onMerged = onMerged;
    this.#drops = new DropLog((text) => options.log("warning", text));
  }

  prepare(place: Place): void {
    const { engines, blobs, device, threads, send } = this.#options;
    const signal = this.#phases.enter({ kind: "preparing", place });
    this.#phases.work(signal, async () => {
      const engine = engines.engine();
      const samples = await openSamples(blobs, place.dataset.manifest, place.model, place.training, signal);
      if (!holdsStartOf(place, this.#held, engine)) {
        this.#held = null;
        const held = await loadStart(place, engine, { ...device, threads }, blobs, signal);
        signal.throwIfAborted();
        this.#held = held;
      }
      this.#meanLossNats = null;
      this.#phases.enter({ kind: "ready", place, samples, early: new EarlyMessages() });
      send({ type: "ready", at: place.at, weightsHash: this.#heldState().weightsHash });
    });
  }

  start(roster: Roster, link: PeerLink): void {
    const { phase } = this.#phases;
    const { self, activity, clock, send } = this.#options;
    if (phase.kind !== "ready") return;
    const { place, samples, early } = phase;
    if (!roster.stages[place.stage.index]?.includes(self)) return; // too late for this epoch; the next one comes
    const held = this.#heldState();
    this.#held = { ...held, epoch: null }; // training changes the weights
    const { signal, entered: training } = this.#phases.enterWith((signal) => {
      const training = new Training({
        place,
        self,
        routes: new Routes(roster, self),
        compute: new ComputeQueue(held.engine, signal),
        samples,
        link,
        activity,
        clock,
        signal,
        react: (reaction) => this.#phases.work(signal, reaction),
        dropped: (from, reason) => this.#drops.dropped(from, reason),
      });
      return { phase: { kind: "training", place, training }, entered: training };
    });
    reportProgress({ place, training, activity, memoryBytes: held.memoryBytes, clock, send, signal });
    for (const message of early.takeAll()) training.receive(message);
    this.#phases.work(signal, async () => {
      await training.run();
      if (!holdsFirstStage(place)) return;
      const { microbatchesDone, microbatchesLost } = training.tally;
      send({ type: "source-done", at: place.at, microbatchesDone, microbatchesLost });
    });
  }

  upload(place: Place): void {
    const { phase } = this.#phases;
    if (phase.kind !== "ready" && phase.kind !== "training") return;
    if (phase.kind === "training") this.#meanLossNats = meanLossNats(place, phase.training.tally);
    const signal = this.#phases.enter({ kind: "uploading", place });
    this.#phases.work(signal, async () => {
      const handedIn = await handIn(place, this.#heldState().engine, this.#options.blobs, signal);
      signal.throwIfAborted();
      const { tokens } = handedIn.contribution;
      const lossSumNats = this.#meanLossNats === null ? null : this.#meanLossNats * tokens;
      this.#phases.enter({ kind: "contributed", place, handedIn });
      this.#options.send({ type: "contributed", at: place.at, blob: handedIn.blob, tokens, lossSumNats });
    });
  }

  /** Also after a contribution that came too late: the replica merges the others' and is in step again. */
  merge(place: Place, order: MergeOrder): void {
    const { phase } = this.#phases;
    if (!["ready", "training", "uploading", "contributed"].includes(phase.kind)) return;
    const own = phase.kind === "contributed" ? phase.handedIn : null;
    const signal = this.#phases.enter({ kind: "merging", place });
    this.#phases.work(signal, async () => {
      const held = this.#heldState();
      this.#held = { ...held, epoch: null };
      const weightsHash = await merge(order, place, own, held.engine, this.#options.blobs, signal);
      signal.throwIfAborted();
      this.#held = { ...held, epoch: place.at.epoch + 1, weightsHash };
      this.#onMerged();
      this.#options.log("debug", `Merged epoch ${place.at.epoch}: weights ${shortId(weightsHash)}.`);
      this.#phases.enter({ kind: "merged", place });
      this.#options.send({ type: "merged", at: place.at, weightsHash });
    });
  }

  store(place: Place): void {
    if (this.#phases.phase.kind !== "merged") return;
    const signal = this.#phases.enter({ kind: "storing", place });
    this.#phases.work(signal, async () => {
      const refs = await storeState(this.#heldState().engine, this.#options.blobs, signal);
      signal.throwIfAborted();
      this.#phases.enter({ kind: "merged", place });
      this.#options.send({ type: "stored", at: place.at, ...refs });
    });
  }

  /** A message of another miner. */
  receive(message: PeerMessage): void {
    const { phase } = this.#phases;
    if (phase.kind === "training") phase.training.receive(message);
    else if (phase.kind === "ready" && !phase.early.keep(message))
      this.#drops.dropped(message.from, "too much came before the start");
  }

  #heldState(): HeldState {
    if (this.#held === null) throw new Error(`nothing is loaded in phase ${this.#phases.phase.kind}`);
    return this.#held;
  }
}

/** A step that was skipped makes fewer tokens count than were seen; their mean loss is the best that can be said. */
function meanLossNats(place: Place, { lossSumNats, tokensBackward }: Readonly<Tally>): number | null {
  return holdsLastStage(place) && tokensBackward > 0 ? lossSumNats / tokensBackward : null;
}
