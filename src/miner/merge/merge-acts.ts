/**
 * The end of an epoch, act by act: a replica contributes, averages what it owns, and takes everybody's step. The acts are phases of the replica, which `../flow` led there; the merge behind them lasts until it is prepared for another epoch.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { assertNever } from "../../protocol/assert-never.ts";
import type { BoundaryHealth, ClientMessage } from "../../protocol/client-messages.ts";
import { failureOf } from "../../protocol/failure.ts";
import type { GatewayMessage } from "../../protocol/gateway-messages.ts";
import { type MinerId, type PlaceRef, samePlace, shortId } from "../../protocol/ids.ts";
import type { MergeMessage } from "../../protocol/merge-messages.ts";
import { partitionsOf } from "../../protocol/partitions.ts";
import { stageNames } from "../../protocol/stage-names.ts";
import type { ComputeEngine } from "../compute-host/compute-worker.ts";
import { holdsState, type Phase, placeOf } from "../flow/phase.ts";
import type { PhaseKeeper } from "../flow/phase-keeper.ts";
import type { Place } from "../flow/place.ts";
import type { Holding } from "../flow/starting-state.ts";
import { Merge } from "./merge.ts";
import type { MergeSurroundings } from "./merge-surroundings.ts";
import { reportsOf } from "./reduced-reports.ts";

export type MergeOrder = Extract<GatewayMessage, { type: "upload" | "reduce" | "apply" }>;
type OrderOf<T extends MergeOrder["type"]> = Extract<MergeOrder, { type: T }>;

export interface MergeOptions extends MergeSurroundings {
  readonly send: (message: ClientMessage) => void;
}

/** What the flow knows about the epoch that was trained. */
export interface Trained {
  /** Last stage only, per token. */
  readonly meanLossNats: number | null;
  readonly computeMs: number;
  /** Null: nothing was sent on to another stage. */
  readonly boundary: BoundaryHealth | null;
}

/** An order that is repeated is answered again, but not so fast that two machines could keep each other busy. */
const shortestRepeatMs = 4000;

interface Current {
  readonly place: Place;
  readonly merge: Merge;
  readonly ending: AbortController;
  /** When `reduce` for these partitions was answered last; null while it is being carried out. */
  readonly reduced: Map<string, number | null>;
}

export class MergeActs {
  readonly #options: MergeOptions;
  readonly #phases: PhaseKeeper;
  readonly #holding: Holding;
  readonly #onMerged: () => void;
  /** What others of the stage said before this replica knew of the merge. */
  readonly #early = new Map<MinerId, MergeMessage>();
  #current: Current | null = null;

  /** `onMerged` is called at each epoch that was brought to its end. */
  constructor(options: MergeOptions, phases: PhaseKeeper, holding: Holding, onMerged: () => void) {
    this.#options = options;
    this.#phases = phases;
    this.#holding = holding;
    this.#onMerged = onMerged;
  }

  /** Takes an order of the orchestrator about the place that the replica has. */
  handle(place: Place, order: MergeOrder, trained: Trained): void {
    switch (order.type) {
      case "upload":
        this.#upload(place, order, trained);
        break;
      case "reduce":
        this.#reduce(place, order);
        break;
      case "apply":
        this.#apply(place, order);
        break;
      default:
        assertNever(order);
    }
  }

  /** Takes another replica's word, which may come before the orchestrator's. */
  receive(from: MinerId, message: MergeMessage): void {
    const place = placeOf(this.#phases.phase);
    if (place === null || !samePlace(place.at, message.at)) return;
    if (this.#current !== null) this.#pass(this.#current, from, message);
    else if (this.#options.isLive(from)) this.#early.set(from, message);
  }

  /** The roster changed, or there is a new link. */
  lookAgain(): void {
    this.#current?.merge.lookAgain();
  }

  /** The replica is in another phase: perhaps of another epoch, or it has lost what it held. */
  entered(phase: Phase): void {
    const isOver = (at: PlaceRef) => !holdsState(phase) || !samePlace(phase.place.at, at);
    for (const [from, { at }] of this.#early) if (isOver(at)) this.#early.delete(from);
    if (this.#current === null || !isOver(this.#current.place.at)) return;
    this.#current.ending.abort();
    this.#current.merge.release();
    this.#current = null;
  }

  #upload(place: Place, { replicas }: OrderOf<"upload">, { meanLossNats, computeMs, boundary }: Trained): void {
    const { phase } = this.#phases;
    if (phase.kind !== "ready" && phase.kind !== "training") return;
    const signal = this.#phases.enter({ kind: "uploading", place });
    const { merge } = this.#mergeOf(place, replicas);
    this.#phases.work(signal, async () => {
      const { engine } = this.#holding.loaded;
      if (place.training.mode === "local-steps") await stepOnTheRest(engine);
      signal.throwIfAborted();
      const contribution = await engine.call("contribution", { partitions: merge.ranges });
      signal.throwIfAborted();
      const { tokens } = contribution;
      const manifest = await merge.contribute(contribution, signal);
      signal.throwIfAborted();
      const lossSumNats = meanLossNats === null ? null : meanLossNats * tokens;
      this.#phases.enter({ kind: "contributed", place });
      this.#options.send({
        type: "contributed",
        at: place.at,
        manifest,
        tokens,
        lossSumNats,
        computeMs,
        boundary,
      });
    });
  }

  /** Also after a contribution that came too late. */
  #reduce(place: Place, order: OrderOf<"reduce">): void {
    if (!this.#isBeforeOrIn("merged")) return;
    const { merge, ending, reduced } = this.#mergeOf(place, order.replicas);
    if (this.#isBeforeOrIn("contributed")) this.#phases.enter({ kind: "merging", place });
    const { clock, send, log } = this.#options;
    const key = order.partitions.join();
    const answeredAtMs = reduced.get(key);
    if (answeredAtMs === null) return;
    if (answeredAtMs !== undefined && clock.nowMs() - answeredAtMs < shortestRepeatMs) return;
    reduced.set(key, null);
    this.#phases.work(ending.signal, async () => {
      const averaged = await merge.reduce(order, this.#holding.loaded.engine);
      ending.signal.throwIfAborted();
      reduced.set(key, clock.nowMs());
      const outliers = [...new Set(averaged.flatMap(({ outliers }) => outliers))];
      for (const outlier of outliers) log("warning", `Left out slices of ${shortId(outlier)} as outliers.`);
      for (const slices of reportsOf(averaged)) {
        send({ type: "reduced", at: place.at, slices, outliers });
        await nextTurn();
      }
    });
  }

  /** In whatever phase: the replica is in step again afterwards. */
  #apply(place: Place, order: OrderOf<"apply">): void {
    if (!this.#isBeforeOrIn("merging")) return;
    const { merge, ending } = this.#mergeOf(place, order.replicas);
    if (this.#isBeforeOrIn("contributed")) this.#phases.enter({ kind: "merging", place });
    this.#phases.work(ending.signal, async () => {
      const held = this.#holding.loaded;
      this.#holding.current = { ...held, epoch: null };
      const weightsHash = await merge.apply(order, held.engine);
      ending.signal.throwIfAborted();
      if (weightsHash === null) return;
      this.#holding.current = { ...held, epoch: place.at.epoch + 1, weightsHash };
      this.#onMerged();
      this.#options.log(
        "debug",
        `Merged epoch ${place.at.epoch} of ${stageNames([place.stage.index])}: weights ${shortId(weightsHash)}.`,
      );
      this.#phases.enter({ kind: "merged", place });
      this.#options.send({ type: "merged", at: place.at, weightsHash });
    });
  }

  #isBeforeOrIn(last: "contributed" | "merging" | "merged"): boolean {
    const order: readonly Phase["kind"][] = ["ready", "training", "uploading", "contributed", "merging", "merged"];
    const index = order.indexOf(this.#phases.phase.kind);
    return index !== -1 && index <= order.indexOf(last);
  }

  /** The merge of this place: the first order brings it into being. */
  #mergeOf(place: Place, replicas: readonly MinerId[]): Current {
    if (this.#current !== null) return this.#current;
    const ending = new AbortController();
    const partitions = partitionsOf(
      place.at,
      replicas,
      this.#holding.loaded.parameters,
      place.training.compression.merge,
    );
    const merge = new Merge({ ...this.#options, place, replicas, partitions, signal: ending.signal });
    this.#current = { place, merge, ending, reduced: new Map() };
    for (const [from, message] of this.#early) this.#pass(this.#current, from, message);
    this.#early.clear();
    return this.#current;
  }

  #pass({ merge, ending }: Current, from: MinerId, message: MergeMessage): void {
    this.#phases.work(ending.signal, () => merge.receive(from, message));
  }
}

/** Gradients whose source never finished its step count as well, if they are sound. */
async function stepOnTheRest(engine: ComputeEngine): Promise<void> {
  try {
    await engine.call("step");
  } catch (error) {
    if (failureOf(error)?.code !== "compute-non-finite") throw error;
  }
}
