/**
 * Copies on this miner's disk of what epochs start from: joiners load them from here, and the network wants one of each stage in its
 * blob store now and then. They are taken before the replica trains on, and outlive it, for an upload over a home's link takes longer
 * than an epoch may last.
 */
import { assertNever } from "../../protocol/assert-never.ts";
import type { ClientMessage } from "../../protocol/client-messages.ts";
import { failureOf } from "../../protocol/failure.ts";
import { type GatewayMessage, mostPastMerges } from "../../protocol/gateway-messages.ts";
import { bytesOf } from "../../protocol/identity.ts";
import { type BlobHash, type EpochRef, type PlaceRef, type RunId, samePlace } from "../../protocol/ids.ts";
import type { LogLine } from "../../protocol/machine-view.ts";
import { stageNames } from "../../protocol/stage-names.ts";
import type { Offered } from "../../transport/blob-serving.ts";
import type { BlobClient, HeldBlob } from "../../transport/blobs/blob-client.ts";
import type { PeerBlobs } from "../../transport/peer-blobs.ts";
import type { ComputeEngine } from "../compute-host/compute-worker.ts";
import type { Clock } from "../session/clock.ts";

export type SnapshotOrder = Extract<
  GatewayMessage,
  { type: "take-snapshot" | "store-checkpoint" | "abandon-checkpoint" }
>;

export interface SnapshotsOptions {
  readonly blobs: Pick<BlobClient, "put" | "hold">;
  readonly peerBlobs: Pick<PeerBlobs, "offerSource">;
  readonly clock: Pick<Clock, "after">;
  readonly send: (message: ClientMessage) => void;
  readonly log: (level: LogLine["level"], text: string) => void;
}

/** The engine that holds a stage's state with these weights, untrained since it was merged or loaded; null: none does. */
export type StateHolder = (stage: number, weightsHash: BlobHash) => ComputeEngine | null;

interface Snapshot {
  readonly at: PlaceRef;
  /** Null while it is being taken. */
  state: {
    readonly weights: HeldBlob;
    readonly optimizer: HeldBlob;
    /** For joiners; null where they need the optimizer's state as it is. */
    readonly moments: HeldBlob | null;
  } | null;
  /** Together they may be larger than all that the cache may take: one would push the other out. */
  held: readonly HeldBlob[];
  offers: readonly Offered[];
  /** `paused`: after a try that failed, until the next. */
  upload: "not-asked" | "under-way" | "paused" | "stored";
  /** Aborted when it is not wanted any more. */
  readonly ending: AbortController;
  /** Of the upload alone. */
  uploading: AbortController;
  /** Calls off another try. */
  cancelRetry: () => void;
}

/** After an upload that failed; the blob client has tried for a while by then. */
const retryMs = 20_000;

export class Snapshots {
  readonly #options: SnapshotsOptions;
  readonly #holderOf: StateHolder;
  #snapshots: readonly Snapshot[] = [];

  constructor(options: SnapshotsOptions, holderOf: StateHolder) {
    this.#options = options;
    this.#holderOf = holderOf;
  }

  /** What was asked for before is answered again: the answer may be lost. */
  handle(order: SnapshotOrder): void {
    switch (order.type) {
      case "take-snapshot":
        this.#take(order.at, order.weightsHash);
        break;
      case "store-checkpoint":
        this.#store(order.at);
        break;
      case "abandon-checkpoint":
        this.#abandon(order.at);
        break;
      default:
        assertNever(order);
    }
  }

  /**
   * Who downloads what an earlier epoch began with may go on from there by the merges since, as long as these are kept. Its files stay
   * as long as there is room for them.
   */
  epochBegins({ runId, epoch }: EpochRef): void {
    for (const snapshot of this.#snapshots.filter(({ at }) => at.runId === runId)) {
      const { upload } = snapshot;
      if (upload === "under-way") continue;
      if (snapshot.at.epoch + mostPastMerges < epoch) {
        this.#drop(snapshot);
        if (upload === "paused") this.#deny(snapshot.at);
      } else if (upload !== "paused" && snapshot.at.epoch + 1 < epoch) letGo(snapshot);
    }
  }

  /** Forgets all of other runs, or all. */
  dropOthersThan(runId: RunId | null): void {
    for (const snapshot of this.#snapshots) if (snapshot.at.runId !== runId) this.#drop(snapshot);
  }

  #take(at: PlaceRef, weightsHash: BlobHash): void {
    const known = this.#find(at);
    if (known !== undefined) {
      if (known.state !== null) this.#say(known);
      return;
    }
    const engine = this.#holderOf(at.stage, weightsHash);
    if (engine === null) {
      this.#deny(at);
      return;
    }
    const snapshot: Snapshot = {
      at,
      state: null,
      held: [],
      offers: [],
      upload: "not-asked",
      ending: new AbortController(),
      uploading: new AbortController(),
      cancelRetry: () => {},
    };
    this.#snapshots = [...this.#snapshots, snapshot];
    void this.#work(snapshot, () => this.#copy(snapshot, engine));
  }

  /** The worker answers calls in turn: what trains the weights on comes after these. */
  async #copy(snapshot: Snapshot, engine: ComputeEngine): Promise<void> {
    const { peerBlobs } = this.#options;
    const [{ weights, optimizer }, moments] = await Promise.all([engine.call("state"), engine.call("moments")]);
    const kept = {
      weights: await this.#hold(snapshot, bytesOf(weights)),
      optimizer: await this.#hold(snapshot, bytesOf(optimizer)),
      moments: moments && (await this.#hold(snapshot, moments)),
    };
    if (snapshot.ending.signal.aborted) return;
    snapshot.offers = [kept.weights, kept.optimizer, kept.moments].flatMap((each) =>
      each === null ? [] : [peerBlobs.offerSource(each.ref.hash, each.source)],
    );
    snapshot.state = kept;
    this.#say(snapshot);
  }

  async #hold(snapshot: Snapshot, bytes: Uint8Array): Promise<HeldBlob> {
    const held = await this.#options.blobs.hold(bytes);
    snapshot.held = [...snapshot.held, held];
    if (snapshot.ending.signal.aborted) letGo(snapshot);
    return held;
  }

  #store(at: PlaceRef): void {
    const snapshot = this.#find(at);
    if (snapshot === undefined) this.#deny(at);
    else if (snapshot.upload === "stored") this.#say(snapshot);
    else if (snapshot.upload !== "under-way" && snapshot.state !== null) {
      snapshot.cancelRetry();
      snapshot.upload = "under-way";
      void this.#work(snapshot, () => this.#upload(snapshot));
    }
  }

  /** One after the other, read from the disk as the link takes them: they are as large as the stage. */
  async #upload(snapshot: Snapshot): Promise<void> {
    const { blobs, log } = this.#options;
    const { uploading, state } = snapshot;
    const { signal } = uploading;
    if (state === null) return;
    try {
      for (const { ref, source } of [state.weights, state.optimizer]) await blobs.put(ref, source, { signal });
    } catch (error) {
      const failure = failureOf(error);
      if (signal.aborted) return;
      if (failure === undefined || failure.code === "blob-not-found") throw error;
      log("warning", `The checkpoint is not stored yet: ${failure.message}`);
      // Who has no right to is asked again, or is not wanted any more.
      snapshot.upload = failure.code === "not-authorised" ? "not-asked" : "paused";
      if (snapshot.upload === "paused")
        snapshot.cancelRetry = this.#options.clock.after(retryMs, () => this.#store(snapshot.at));
      return;
    }
    if (signal.aborted) return;
    snapshot.upload = "stored";
    this.#say(snapshot);
  }

  #abandon(at: PlaceRef): void {
    const snapshot = this.#find(at);
    if (snapshot === undefined) return;
    snapshot.cancelRetry();
    snapshot.uploading.abort();
    snapshot.uploading = new AbortController();
    snapshot.upload = "not-asked";
  }

  #say({ at, state, upload }: Snapshot): void {
    if (state === null) return;
    const refs = { weights: state.weights.ref, optimizer: state.optimizer.ref };
    if (upload === "stored") this.#options.send({ type: "stored", at, ...refs });
    else this.#options.send({ type: "snapshot", at, state: { ...refs, moments: state.moments?.ref ?? null } });
  }

  #deny(at: PlaceRef): void {
    this.#options.send({ type: "snapshot", at, state: null });
  }

  /** A full disk, or a worker that crashed, is no reason to stop training: another miner has a copy, or the next epoch will. */
  async #work(snapshot: Snapshot, work: () => Promise<void>): Promise<void> {
    const { log } = this.#options;
    try {
      await work();
    } catch (error) {
      const failure = failureOf(error);
      if (snapshot.ending.signal.aborted) return;
      if (failure === undefined) throw error;
      log("warning", `There is no copy of ${stageNames([snapshot.at.stage])} for others: ${failure.message}`);
      this.#drop(snapshot);
      this.#deny(snapshot.at);
    }
  }

  #find(at: PlaceRef): Snapshot | undefined {
    return this.#snapshots.find((snapshot) => samePlace(snapshot.at, at));
  }

  #drop(snapshot: Snapshot): void {
    snapshot.ending.abort();
    snapshot.cancelRetry();
    snapshot.uploading.abort();
    for (const offered of snapshot.offers) offered.withdraw();
    letGo(snapshot);
    this.#snapshots = this.#snapshots.filter((other) => other !== snapshot);
  }
}

/** Its files make room for others, should they need it. */
function letGo(snapshot: Snapshot): void {
  for (const held of snapshot.held) held.release();
  snapshot.held = [];
}
