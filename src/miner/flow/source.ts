/**
 * The first stage's part in an epoch: it begins every microbatch, waits until its gradient is back, and ends each step. With
 * a single stage it is the whole pipeline.
 */
import type { MessageKind } from "../../protocol/frames.ts";
import type { MinerId } from "../../protocol/ids.ts";
import type { MicrobatchMessage } from "../../protocol/microbatch.ts";
import type { Epoch, Role } from "./epoch.ts";
import { holdsLastStage } from "./place.ts";

/** A round trip may take this many times as long as the slowest so far before the microbatch counts as lost … */
const deadlineFactor = 10;
/** … but never less than this: a laptop may be busy for a while. */
const shortestDeadlineMs = 20_000;
/** Before the first gradient is back, nothing is known about the pipeline. */
const firstDeadlineMs = 100_000;

/** A microbatch that is on its way along the path. */
interface Flight {
  readonly path: readonly MinerId[];
  /** Ends it with its gradient, or with null: lost. */
  readonly land: (gradient: Float32Array | null) => void;
}

export class Source implements Role {
  readonly #epoch: Epoch;
  readonly #flights = new Map<number, Flight>();
  #slowestMs: number | null = null;

  constructor(epoch: Epoch) {
    this.#epoch = epoch;
    const { routes } = epoch.options;
    routes.onChange(() => {
      for (const { path, land } of this.#flights.values()) if (!path.every((miner) => routes.isLive(miner))) land(null);
    });
  }

  async run(): Promise<void> {
    const { training } = this.#epoch.options.place;
    for (let step = 0; step < training.stepsPerEpoch; step++) {
      const paths = await this.#sendStep(step);
      if (training.mode === "local-steps") await this.#finishStep(step, paths);
    }
  }

  receive(_from: MinerId, kind: MessageKind, message: MicrobatchMessage): void {
    if (kind !== "backward") return; // nobody stands before the source
    const flight = this.#flights.get(message.microbatch);
    if (flight?.path.every((miner, stage) => miner === message.path[stage])) flight.land(message.values);
  }

  /** Sends the step's microbatches, a bounded number at a time, until all are back or lost. Returns the paths used. */
  async #sendStep(step: number): Promise<MinerId[][]> {
    const { training, stage } = this.#epoch.options.place;
    const paths = new Map<string, MinerId[]>();
    let next = 0;
    const sendInTurn = async () => {
      while (next < training.microbatchesPerStep) {
        const microbatch = this.#indexOf(step * training.microbatchesPerStep + next++);
        await this.#roundTrip(step, microbatch, (path) => paths.set(path.join(), path));
      }
    };
    const inFlight = Math.min(training.microbatchesPerStep, stage.count + 1);
    await Promise.all(Array.from({ length: inFlight }, sendInTurn));
    return [...paths.values()];
  }

  /** Source k of n sends microbatches k, k + n, k + 2n, … */
  #indexOf(turn: number): number {
    const { routes, self } = this.#epoch.options;
    return routes.sourceIndex(self) + routes.sourceCount * turn;
  }

  /** Everybody on the paths has all gradients of this step that will come: they step, and so does the source. */
  async #finishStep(step: number, paths: readonly MinerId[][]): Promise<void> {
    const markers = paths.map(async (path) => {
      const [, next] = path;
      if (next !== undefined) await this.#epoch.flush(next, step, path);
    });
    await Promise.all([this.#epoch.options.compute.attempt("step", "step"), ...markers]);
  }

  async #roundTrip(step: number, microbatch: number, onPath: (path: MinerId[]) => void): Promise<void> {
    this.#epoch.inFlight(1);
    const done = holdsLastStage(this.#epoch.options.place)
      ? await this.#throughOneStage(microbatch)
      : await this.#alongPath(step, microbatch, onPath);
    this.#epoch.inFlight(-1);
    if (done) this.#epoch.backwardDone();
    else this.#epoch.tally.microbatchesLost += 1;
  }

  /** The whole model is here. */
  async #throughOneStage(microbatch: number): Promise<boolean> {
    const { compute, samples, place, signal } = this.#epoch.options;
    const sample = await samples.sample({ epoch: place.at.epoch, index: microbatch }, signal);
    const result = await compute.attempt("forward", "forwardBackward", { microbatch: String(microbatch), ...sample });
    if (result === null) return false;
    this.#epoch.forwardDone();
    this.#epoch.tally.lossSumNats += result.lossSumNats;
    return true;
  }

  async #alongPath(step: number, microbatch: number, onPath: (path: MinerId[]) => void): Promise<boolean> {
    const { compute, samples, routes, place, signal } = this.#epoch.options;
    const key = String(microbatch);
    const { sequences, tokens } = await samples.sample({ epoch: place.at.epoch, index: microbatch }, signal);
    const forward = await compute.attempt("forward", "forward", { microbatch: key, sequences, tokens });
    if (forward === null) return false;
    this.#epoch.forwardDone();
    // Chosen only now: whoever is lost from here on ends the flight.
    const path = await routes.wholePath(microbatch, signal);
    onPath(path);
    const gradient = await this.#exchange({
      epoch: place.at.epoch,
      attempt: place.at.attempt,
      step,
      microbatch,
      sequences,
      path,
      rows: tokens.length,
      columns: place.model.width,
      values: forward.activations,
    });
    const backward = gradient && (await compute.attempt("backward", "backward", { microbatch: key, gradient }));
    if (backward === null) await compute.run("step", "discard", { microbatches: [key] });
    return backward !== null;
  }

  /** Sends activations off and waits for their gradient; null when it is lost. */
  async #exchange(message: MicrobatchMessage): Promise<Float32Array | null> {
    const { clock, signal } = this.#epoch.options;
    const sentAtMs = clock.nowMs();
    const { promise, resolve } = Promise.withResolvers<Float32Array | null>();
    const cancelDeadline = clock.after(this.#deadlineMs(), () => resolve(null));
    const giveUp = () => resolve(null);
    signal.addEventListener("abort", giveUp, { once: true });
    this.#flights.set(message.microbatch, { path: message.path, land: resolve });
    const [, next] = message.path;
    if (next !== undefined)
      this.#epoch.options.react(async () => {
        if (!(await this.#epoch.send(next, "forward", message))) resolve(null);
      });
    const gradient = await promise;
    cancelDeadline();
    signal.removeEventListener("abort", giveUp);
    this.#flights.delete(message.microbatch);
    if (gradient !== null) this.#slowestMs = Math.max(this.#slowestMs ?? 0, clock.nowMs() - sentAtMs);
    return gradient;
  }

  #deadlineMs(): number {
    return this.#slowestMs === null ? firstDeadlineMs : Math.max(shortestDeadlineMs, deadlineFactor * this.#slowestMs);
  }
}
