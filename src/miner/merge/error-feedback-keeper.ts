/**
 * Sees to it that what was rounded away of a replica's contributions outlives its compute worker: it is written down when the place is
 * given up, and now and then in between, and taken up when this miner holds the stage of the run again.
 */
import { failureOf } from "../../protocol/failure.ts";
import type { RunId } from "../../protocol/ids.ts";
import type { LogLine } from "../../protocol/machine-view.ts";
import { stageNames } from "../../protocol/stage-names.ts";
import type { Place } from "../flow/place.ts";
import type { HeldState } from "../flow/starting-state.ts";
import type { Clock } from "../session/clock.ts";

/** Whose residual it is. `parameters`: of the stage. */
export interface ResidualOf {
  readonly runId: RunId;
  readonly stage: number;
  readonly parameters: number;
}

/** Where residuals are while no worker holds them. */
export interface ResidualStore {
  /** Rejects with `FailureError` of the file system. */
  read(of: ResidualOf): Promise<Uint8Array | "none" | "damaged">;
  /** Replaces what there is of the same stage. `epoch`: that it was left over from. Rejects as `read`, and with disk-full. */
  write(of: ResidualOf, epoch: number, payload: Uint8Array): Promise<void>;
}

export interface ErrorFeedbackOptions {
  readonly residuals: ResidualStore;
  readonly clock: Clock;
  readonly log: (level: LogLine["level"], text: string) => void;
}

/** What a crash may cost is the error of so many minutes' contributions. */
const pauseMs = 5 * 60_000;
/** Nobody waits longer than this for a worker that is busy. */
const mostSavingMs = 10_000;

type Worker = Pick<HeldState, "engine" | "parameters">;

export class ErrorFeedbackKeeper {
  readonly #options: ErrorFeedbackOptions;
  #savedAtMs: number;
  /** The last merge that is not written down. */
  #unsaved: { readonly place: Place; readonly worker: Worker } | null = null;
  #saving: Promise<void> | null = null;

  constructor(options: ErrorFeedbackOptions) {
    this.#options = options;
    this.#savedAtMs = options.clock.nowMs();
  }

  /** Gives a worker that was opened for the place what there is; one that has something newer keeps that. */
  async restore(place: Place, { engine, parameters }: Worker): Promise<void> {
    if (!isRounded(place)) return;
    const { residuals, log } = this.#options;
    const ofStage = stageNames([place.stage.index]);
    try {
      const payload = await residuals.read(residualOf(place, parameters));
      if (payload === "none") return;
      const restored = payload === "damaged" ? payload : await engine.call("loadResidual", { payload });
      if (restored === "damaged") log("warning", `The error feedback of ${ofStage} is damaged, and begins anew.`);
      if (restored === "taken") log("debug", `Took up the error feedback of ${ofStage}.`);
    } catch (error) {
      const failure = failureOf(error);
      if (failure === undefined || failure.code === "compute-crashed") throw error;
      log("warning", `The error feedback of ${ofStage} begins anew: ${failure.message}`);
    }
  }

  /** An epoch was merged. */
  merged(place: Place, worker: Worker): void {
    if (!isRounded(place)) return;
    this.#unsaved = { place, worker };
    const isDue = this.#options.clock.nowMs() - this.#savedAtMs >= pauseMs;
    if (isDue && this.#saving === null) void this.save();
  }

  /** Writes down what is not; null when there is nothing to write. Never rejects: training matters more. */
  save(): Promise<void> | null {
    const unsaved = this.#unsaved;
    if (unsaved === null) return this.#saving;
    this.#unsaved = null;
    this.#savedAtMs = this.#options.clock.nowMs();
    const saving = (this.#saving ?? Promise.resolve()).then(() => this.#write(unsaved.place, unsaved.worker));
    this.#saving = saving;
    void saving.then(() => {
      if (this.#saving === saving) this.#saving = null;
    });
    return saving;
  }

  async #write(place: Place, { engine, parameters }: Worker): Promise<void> {
    const { residuals, clock, log } = this.#options;
    const late = Promise.withResolvers<null>();
    const stopTimer = clock.after(mostSavingMs, () => late.resolve(null));
    try {
      const payload = await Promise.race([engine.call("residual"), late.promise]);
      if (payload !== null) await residuals.write(residualOf(place, parameters), place.at.epoch, payload);
    } catch (error) {
      const message = failureOf(error)?.message ?? String(error);
      log("warning", `The error feedback of ${stageNames([place.stage.index])} is not on disk: ${message}`);
    } finally {
      stopTimer();
    }
  }
}

function residualOf({ at, stage }: Place, parameters: number): ResidualOf {
  return { runId: at.runId, stage: stage.index, parameters };
}

function isRounded({ training }: Place): boolean {
  return training.compression.merge.kind !== "f32";
}
