/**
 * The end of an epoch, act by act: a replica hands in its contribution, merges everybody's, and stores the result. Each act is a
 * phase of the replica, and its work ends with the phase; `../flow` led it there.
 */
import { shortId } from "../../protocol/ids.ts";
import type { Tally } from "../flow/epoch.ts";
import type { ReplicaOptions } from "../flow/epoch-acts.ts";
import type { PhaseKeeper } from "../flow/phase-keeper.ts";
import { holdsLastStage, type Place } from "../flow/place.ts";
import type { Holding } from "../flow/starting-state.ts";
import { handIn, type MergeOrder, merge, storeState } from "./merge.ts";

type MergeOptions = Pick<ReplicaOptions, "blobs" | "send" | "log">;

export class MergeActs {
  readonly #options: MergeOptions;
  readonly #phases: PhaseKeeper;
  readonly #holding: Holding;
  readonly #onMerged: () => void;

  /** `onMerged` is called at each epoch that was brought to its end. */
  constructor(options: MergeOptions, phases: PhaseKeeper, holding: Holding, onMerged: () => void) {
    this.#options = options;
    this.#phases = phases;
    this.#holding = holding;
    this.#onMerged = onMerged;
  }

  upload(place: Place): void {
    const { phase } = this.#phases;
    if (phase.kind !== "ready" && phase.kind !== "training") return;
    const meanLossNats = phase.kind === "training" ? meanLoss(place, phase.training.tally) : null;
    const signal = this.#phases.enter({ kind: "uploading", place });
    this.#phases.work(signal, async () => {
      const handedIn = await handIn(place, this.#holding.loaded.engine, this.#options.blobs, signal);
      signal.throwIfAborted();
      const { tokens } = handedIn.contribution;
      const lossSumNats = meanLossNats === null ? null : meanLossNats * tokens;
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
      const held = this.#holding.loaded;
      this.#holding.current = { ...held, epoch: null };
      const weightsHash = await merge(order, place, own, held.engine, this.#options.blobs, signal);
      signal.throwIfAborted();
      this.#holding.current = { ...held, epoch: place.at.epoch + 1, weightsHash };
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
      const refs = await storeState(this.#holding.loaded.engine, this.#options.blobs, signal);
      signal.throwIfAborted();
      this.#phases.enter({ kind: "merged", place });
      this.#options.send({ type: "stored", at: place.at, ...refs });
    });
  }
}

/** A step that was skipped makes fewer tokens count than were seen; their mean loss is the best that can be said. */
function meanLoss(place: Place, { lossSumNats, tokensBackward }: Readonly<Tally>): number | null {
  return holdsLastStage(place) && tokensBackward > 0 ? lossSumNats / tokensBackward : null;
}
