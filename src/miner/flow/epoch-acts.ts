/**
 * What a replica does in an epoch until it merges, act by act: it loads the starting weights and trains; `../merge/merge-acts.ts`
 * goes on from there. Each act is a phase of the replica, and its work ends with the phase.
 */

import { mostUnderWay, stageBudget } from "../../compute/model/stage-budget.ts";
import type { ClientMessage } from "../../protocol/client-messages.ts";
import type { DeviceReport } from "../../protocol/device-report.ts";
import type { MinerId } from "../../protocol/ids.ts";
import type { LogLine } from "../../protocol/machine-view.ts";
import type { Roster } from "../../protocol/roster.ts";
import type { BoundaryFormats } from "../../protocol/run-config.ts";
import type { BlobClient } from "../../transport/blobs/blob-client.ts";
import type { PeerBlobs } from "../../transport/peer-blobs.ts";
import type { EngineSource } from "../compute-host/compute-worker.ts";
import { openSamples } from "../data/samples-from-blobs.ts";
import { DropLog } from "../drop-log.ts";
import type { ErrorFeedbackKeeper, ResidualStore } from "../merge/error-feedback-keeper.ts";
import type { Clock } from "../session/clock.ts";
import type { Activity } from "./activity.ts";
import { ComputeQueue } from "./compute-queue.ts";
import type { Peers } from "./peers.ts";
import type { PhaseKeeper } from "./phase-keeper.ts";
import { holdsFirstStage, holdsLastStage, type Place } from "./place.ts";
import { reportProgress } from "./progress.ts";
import { Routes } from "./routes.ts";
import { catchUp, type Holding, holdsStartOf, loadStart } from "./starting-state.ts";
import { Training } from "./training.ts";
import { Transfers } from "./transfers.ts";

export interface ReplicaOptions {
  readonly self: MinerId;
  /** With this miner's key: ed25519, 64 bytes. */
  readonly sign: (bytes: Uint8Array) => Uint8Array;
  /** Of the network that the current session is with. */
  readonly networkId: () => string;
  readonly device: DeviceReport;
  readonly threads: number;
  readonly engines: EngineSource;
  readonly blobs: Pick<BlobClient, "get" | "bytesHere" | "put" | "keep" | "hold" | "forget">;
  /** Shared by all places of the miner. */
  readonly peerBlobs: PeerBlobs;
  readonly residuals: ResidualStore;
  readonly peers: Pick<Peers, "send">;
  readonly activity: Activity;
  readonly clock: Clock;
  /** What is a report is said again until it is overtaken by events: the phase that it is about is entered first. */
  readonly send: (message: ClientMessage) => void;
  readonly log: (level: LogLine["level"], text: string) => void;
}

export class EpochActs {
  readonly #options: ReplicaOptions;
  readonly #phases: PhaseKeeper;
  readonly #holding: Holding;
  readonly #errorFeedback: Pick<ErrorFeedbackKeeper, "restore">;
  readonly #drops: DropLog;

  constructor(
    options: ReplicaOptions,
    phases: PhaseKeeper,
    holding: Holding,
    errorFeedback: Pick<ErrorFeedbackKeeper, "restore">,
  ) {
    this.#options = options;
    this.#errorFeedback = errorFeedback;
    this.#phases = phases;
    this.#holding = holding;
    this.#drops = new DropLog((text) => options.log("warning", text));
  }

  prepare(place: Place): void {
    const { engines, blobs, peerBlobs, log, device, threads } = this.#options;
    const sources = { blobs, peerBlobs, log };
    const signal = this.#phases.enter({ kind: "preparing", place });
    this.#phases.work(signal, async () => {
      const engine = engines.engine();
      const samples = await openSamples(blobs, place.dataset.manifest, place.model, place.training, signal);
      if (!holdsStartOf(place, this.#holding.current, engine)) {
        const before = this.#holding.current;
        this.#holding.current = null;
        const held =
          (await catchUp(place, before, engine, sources, signal)) ??
          (await loadStart(place, engine, { ...device, threads }, sources, signal));
        signal.throwIfAborted();
        await this.#errorFeedback.restore(place, held);
        signal.throwIfAborted();
        this.#holding.current = held;
      }
      this.#phases.enter({ kind: "ready", place, samples });
      this.sayReady(place);
    });
  }

  sayReady(place: Place): void {
    this.#options.send({ type: "ready", at: place.at, weightsHash: this.#holding.loaded.weightsHash });
  }

  /** Null when it is too late for this epoch, or when the replica is warming up: the next one comes. */
  start(roster: Roster, boundary: BoundaryFormats): Routes | null {
    const { phase } = this.#phases;
    const { self, sign, networkId, activity, clock, send, peers } = this.#options;
    if (phase.kind !== "ready") return null;
    const { place, samples } = phase;
    if (!roster.stages[place.stage.index]?.some(({ minerId }) => minerId === self)) return null;
    const held = this.#holding.loaded;
    this.#holding.current = { ...held, epoch: null }; // training changes the weights
    const routes = new Routes(roster, self, place.training.microbatchesPerStep, clock);
    const transfers = new Transfers({ networkId: networkId(), place, self, routes, sign, accuse: send });
    const { signal, entered: training } = this.#phases.enterWith((signal) => {
      const training = new Training({
        place,
        self,
        routes,
        compute: new ComputeQueue(held.engine, signal, () => clock.nowMs()),
        samples,
        peers,
        transfers,
        activity,
        clock,
        signal,
        boundary,
        room: roomFor(place),
        react: (reaction) => this.#phases.work(signal, reaction),
        dropped: (from, reason) => this.#drops.dropped(from, reason),
      });
      return { phase: { kind: "training", place, training }, entered: training };
    });
    reportProgress({ place, training, activity, memoryBytes: held.memoryBytes, clock, send, signal });
    this.#phases.work(signal, async () => {
      await training.run();
      signal.throwIfAborted();
      if (!holdsFirstStage(place)) return;
      const { microbatchesDone, microbatchesLost } = training.tally;
      send({ type: "source-done", at: place.at, microbatchesDone, microbatchesLost });
    });
    return routes;
  }
}

/** What the memory plan has; the last stage keeps nothing between a microbatch's passes, but others wait in its queue. */
function roomFor(place: Place): number {
  if (holdsLastStage(place)) return 2 * mostUnderWay(place);
  return stageBudget(place, place.memoryLimitBytes).microbatchesInFlight;
}
