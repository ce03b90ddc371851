/**
 * The first stage's part in an epoch: it begins its share of every step's microbatches, waits until their gradients are back, and
 * ends the step. With a single stage it is the whole pipeline.
 */
import { channelsBefore } from "../../compute/model/parts.ts";
import { mostUnderWay } from "../../compute/model/stage-budget.ts";
import type { AnsweredKind } from "../../protocol/answer.ts";
import type { MinerId } from "../../protocol/ids.ts";
import { microbatchesInStep } from "../../protocol/source-shares.ts";
import type { Outgoing } from "./deliveries.ts";
import type { Epoch, Role } from "./epoch.ts";
import { FlushMarkers } from "./flush-markers.ts";
import type { Received } from "./inbound.ts";
import { Onward } from "./onward.ts";
import { Pace } from "./pace.ts";
import { holdsLastStage } from "./place.ts";

/** The last resort for a microbatch that neither comes back nor is said to be lost: so many times as long as the slowest so far … */
const deadlineFactor = 10;
/** … but never less than this: others may have to wait for a slow source before they compute it. */
const shortestDeadlineMs = 60_000;
/** Before the first gradient is back, nothing is known about the pipeline. */
const firstDeadlineMs = 100_000;

export class Source implements Role {
  readonly #epoch: Epoch;
  readonly #onward: Onward;
  readonly #markers: FlushMarkers;
  readonly #pace: Pace;
  /** Of each step that has begun, how many of its microbatches are under way. */
  readonly #underWay: number[] = [];
  #stepsEnded = 0;
  #isWindingDown = false;
  #slowestMs: number | null = null;
  /** Called whenever something has changed that is waited for. */
  #waiting: (() => void)[] = [];

  constructor(epoch: Epoch) {
    this.#epoch = epoch;
    const { place } = epoch.options;
    this.#pace = new Pace(place.stage.count, mostUnderWay(place));
    this.#onward = new Onward(epoch, () => this.#pace.refused());
    this.#markers = new FlushMarkers(epoch);
    epoch.options.signal.addEventListener("abort", () => this.#changed(), { once: true });
  }

  async run(): Promise<void> {
    const { place, react } = this.#epoch.options;
    const { stepsPerEpoch, maximumStaleness, mode } = place.training;
    for (let step = 0; step < stepsPerEpoch && !this.#isWindingDown; step++) {
      await this.#until(() => step <= this.#stepsEnded + maximumStaleness);
      await this.#beginStep(step);
      react(() => this.#endStep(step));
    }
    await this.#until(() => this.#stepsEnded === this.#underWay.length);
    // Nobody has to wait for the steps that are left out.
    this.#epoch.exchange?.close();
    if (mode === "local-steps") this.#markers.flush(stepsPerEpoch - 1);
  }

  windDown(): void {
    this.#isWindingDown = true;
    this.#changed();
  }

  receive(from: MinerId, kind: AnsweredKind, message: Received): void {
    if (kind === "backward") this.#onward.receive(from, message);
  }

  lost(from: MinerId, microbatch: number): void {
    this.#onward.lost(from, microbatch);
  }

  /** Begins the source's share of a step, a bounded number at a time. */
  async #beginStep(step: number): Promise<void> {
    const { place, routes, self, react } = this.#epoch.options;
    const { microbatchesPerStep } = place.training;
    const { first, count } = routes.shareOf(self) ?? { first: 0, count: 0 };
    const inStep = microbatchesInStep(routes.sources.length, microbatchesPerStep);
    this.#underWay.push(0);
    this.#pace.stepBegan();
    for (let turn = 0; turn < count; turn++) {
      await this.#until(() => this.#isWindingDown || sum(this.#underWay) < this.#pace.mostUnderWay);
      if (this.#isWindingDown) return;
      this.#count(step, 1);
      react(() => this.#roundTrip(step, step * inStep + first + turn));
    }
  }

  /** All gradients of this step that will come are here: everybody may step, and the source does. */
  async #endStep(step: number): Promise<void> {
    const { place } = this.#epoch.options;
    await this.#until(() => this.#stepsEnded === step && this.#underWay[step] === 0);
    if (place.training.mode === "local-steps") {
      this.#markers.flush(step);
      await this.#epoch.step();
    }
    this.#stepsEnded += 1;
    this.#changed();
  }

  async #roundTrip(step: number, microbatch: number): Promise<void> {
    const { clock } = this.#epoch.options;
    const departure = this.#pace.departed(clock.nowMs());
    this.#epoch.inFlight(1);
    const isDone = holdsLastStage(this.#epoch.options.place)
      ? await this.#throughOneStage(microbatch)
      : await this.#throughAllStages(step, microbatch);
    this.#epoch.inFlight(-1);
    if (isDone) this.#pace.returned(departure, clock.nowMs());
    else this.#epoch.tally.microbatchesLost += 1;
    this.#count(step, -1);
  }

  /** The whole model is here. */
  async #throughOneStage(microbatch: number): Promise<boolean> {
    const { compute, samples, place, signal } = this.#epoch.options;
    const sample = await samples.sample({ epoch: place.at.epoch, index: microbatch }, signal);
    const result = await compute.attempt("forward", "forwardBackward", {
      microbatch: String(microbatch),
      ...sample,
      send: null,
    });
    if (result === null) return false;
    this.#epoch.tally.lossSumNats += result.lossSumNats;
    this.#epoch.forwardDone();
    this.#epoch.backwardDone();
    return true;
  }

  async #throughAllStages(step: number, index: number): Promise<boolean> {
    const { compute, samples, place, self, signal } = this.#epoch.options;
    const { epoch, attempt } = place.at;
    const microbatch = String(index);
    const { sequences, tokens } = await samples.sample({ epoch, index }, signal);
    const send = { format: this.#epoch.options.boundary.forward };
    const forward = await compute.attempt("forward", "forward", { microbatch, sequences, tokens, send });
    if (forward === null) return false;
    this.#epoch.forwardDone(forward.boundary);
    const stepsAtForward = this.#epoch.stepsTaken;
    const [rows, columns] = [tokens.length, channelsBefore(place.model, place.stage.toLayer)];
    const gradient = await this.#withinDeadline({
      ...{ epoch, attempt, step, microbatch: index, stage: 1, path: [self] },
      ...{ sequences, rows, columns, origin: null, payload: forward.activations },
    });
    const backward = gradient && (await compute.attempt("backward", "backward", { microbatch, gradient, send: null }));
    if (backward === null) {
      await compute.run("step", "discard", { microbatches: [microbatch] });
      return false;
    }
    this.#epoch.backwardDone(stepsAtForward);
    return true;
  }

  async #withinDeadline(message: Outgoing): Promise<Uint8Array | null> {
    const { clock, routes, signal } = this.#epoch.options;
    const beganAtMs = clock.nowMs();
    let stopTimer = () => {};
    const watch = () => {
      stopTimer = clock.after(this.#deadlineMs(), () => {
        // While the network cannot be reached, nothing can come.
        if (routes.isConnected) this.#onward.giveUp(message.microbatch);
        else watch();
      });
    };
    watch();
    const stop = () => stopTimer();
    signal.addEventListener("abort", stop, { once: true });
    try {
      const returned = await this.#onward.exchange(message);
      if (returned !== null) this.#slowestMs = Math.max(this.#slowestMs ?? 0, clock.nowMs() - beganAtMs);
      return returned?.gradient ?? null;
    } finally {
      stop();
      signal.removeEventListener("abort", stop);
    }
  }

  #deadlineMs(): number {
    return this.#slowestMs === null ? firstDeadlineMs : Math.max(shortestDeadlineMs, deadlineFactor * this.#slowestMs);
  }

  #count(step: number, change: 1 | -1): void {
    this.#underWay[step] = (this.#underWay[step] ?? 0) + change;
    this.#changed();
  }

  /** Rejects when the epoch is over. */
  async #until(isSo: () => boolean): Promise<void> {
    const { signal } = this.#epoch.options;
    while (!isSo()) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
      signal.throwIfAborted();
    }
  }

  #changed(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}
