/**
 * What a replica does in an epoch until it merges, act by act: it loads the starting weights and trains; `../merge/merge-acts.ts`
 * goes on from there. Each act is a phase of the replica, and its work ends with the phase.
 */
import type { MinerId } from "../../protocol/ids.ts";
import type { LogLine, MinerState } from "../../protocol/local-api.ts";
import type { ClientMessage, DeviceReport, Roster } from "../../protocol/messages.ts";
import type { BlobClient } from "../../transport/blobs/blob-client.ts";
import type { PeerBlobs } from "../../transport/peer-blobs.ts";
import type { PeerLink, PeerMessage } from "../../transport/peer-link.ts";
import type { EngineSource } from "../compute-host/compute-worker.ts";
import { openSamples } from "../data/samples-from-blobs.ts";
import type { Clock } from "../session/clock.ts";
import type { Activity } from "./activity.ts";
import { ComputeQueue } from "./compute-queue.ts";
import { DropLog } from "./drop-log.ts";
import { EarlyMessages } from "./early-messages.ts";
import type { PhaseKeeper } from "./phase-keeper.ts";
import { holdsFirstStage, type Place } from "./place.ts";
import { reportProgress } from "./progress.ts";
import { Routes } from "./routes.ts";
import { type Holding, holdsStartOf, loadStart } from "./starting-state.ts";
import { Training } from "./training.ts";

export interface ReplicaOptions {
  readonly self: MinerId;
  readonly device: DeviceReport;
  readonly threads: number;
  readonly engines: EngineSource;
  readonly blobs: Pick<BlobClient, "get" | "put" | "keep">;
  /** Shared by all places of the miner. */
  readonly peerBlobs: PeerBlobs;
  readonly activity: Activity;
  readonly clock: Clock;
  readonly send: (message: ClientMessage) => void;
  readonly onState: (state: MinerState) => void;
  readonly log: (level: LogLine["level"], text: string) => void;
}

export class EpochActs {
  readonly #options: ReplicaOptions;
  readonly #phases: PhaseKeeper;
  readonly #holding: Holding;
  readonly #drops: DropLog;

  constructor(options: ReplicaOptions, phases: PhaseKeeper, holding: Holding) {
    this.#options = options;
    this.#phases = phases;
    this.#holding = holding;
    this.#drops = new DropLog((text) => options.log("warning", text));
  }

  prepare(place: Place): void {
    const { engines, blobs, device, threads, send } = this.#options;
    const signal = this.#phases.enter({ kind: "preparing", place });
    this.#phases.work(signal, async () => {
      const engine = engines.engine();
      const samples = await openSamples(blobs, place.dataset.manifest, place.model, place.training, signal);
      if (!holdsStartOf(place, this.#holding.current, engine)) {
        this.#holding.current = null;
        const held = await loadStart(place, engine, { ...device, threads }, blobs, signal);
        signal.throwIfAborted();
        this.#holding.current = held;
      }
      this.#phases.enter({ kind: "ready", place, samples, early: new EarlyMessages() });
      send({ type: "ready", at: place.at, weightsHash: this.#holding.loaded.weightsHash });
    });
  }

  start(roster: Roster, link: PeerLink): void {
    const { phase } = this.#phases;
    const { self, activity, clock, send } = this.#options;
    if (phase.kind !== "ready") return;
    const { place, samples, early } = phase;
    if (!roster.stages[place.stage.index]?.includes(self)) return; // too late for this epoch; the next one comes
    const held = this.#holding.loaded;
    this.#holding.current = { ...held, epoch: null }; // training changes the weights
    const { signal, entered: training } = this.#phases.enterWith((signal) => {
      const training = new Training({
        place,
        self,
        routes: new Routes(roster, self),
        compute: new ComputeQueue(held.engine, signal, () => clock.nowMs()),
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

  /** A message of another miner. */
  receive(message: PeerMessage): void {
    const { phase } = this.#phases;
    if (phase.kind === "training") phase.training.receive(message);
    else if (phase.kind === "ready" && !phase.early.keep(message))
      this.#drops.dropped(message.from, "too much came before the start");
  }
}
