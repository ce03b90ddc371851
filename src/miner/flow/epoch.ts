/** One epoch of training as the roles (`source.ts`, `later-stage.ts`) see it: what they use and what they account for. */
import type { GradientFormat } from "../../compute/worker-protocol.ts";
import { type AnsweredKind, encodeAnswer, type Verdict } from "../../protocol/answer.ts";
import type { BoundaryHealth } from "../../protocol/client-messages.ts";
import type { MinerId } from "../../protocol/ids.ts";
import type { MicrobatchMessage } from "../../protocol/microbatch.ts";
import type { BoundaryFormats } from "../../protocol/run-config.ts";
import type { Samples } from "../data/samples-from-blobs.ts";
import { StepExchange } from "../exchange/step-exchange.ts";
import type { Clock } from "../session/clock.ts";
import type { Activity } from "./activity.ts";
import type { ComputeQueue } from "./compute-queue.ts";
import { Deliveries } from "./deliveries.ts";
import type { Received } from "./inbound.ts";
import { noiseOf } from "./noise.ts";
import type { Peers } from "./peers.ts";
import { type Place, tokensPerMicrobatch } from "./place.ts";
import type { Routes } from "./routes.ts";
import type { Transfers } from "./transfers.ts";

/** A role in an epoch. Its messages were found to be in order. */
export interface Role {
  receive(from: MinerId, kind: AnsweredKind, message: Received): void;
  /** Another replica will not bring this microbatch to its end. */
  lost(from: MinerId, microbatch: number): void;
  /** Settles when this replica has nothing more to begin. */
  run(): Promise<void>;
  /** Takes and begins nothing new from here on. */
  windDown(): void;
}

export interface EpochOptions {
  readonly place: Place;
  readonly self: MinerId;
  readonly routes: Routes;
  readonly compute: ComputeQueue;
  readonly samples: Samples;
  readonly peers: Pick<Peers, "send">;
  readonly transfers: Transfers;
  readonly activity: Activity;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** What to send in; what comes says itself what it is in. */
  readonly boundary: BoundaryFormats;
  /** Microbatches that there is room for between their arrival and their end. */
  readonly room: number;
  /** Something was dropped, and why. */
  readonly dropped: (from: MinerId, reason: string) => void;
  /** Does what a message asks for; what goes wrong in it is this replica's failure, unless the epoch is over. */
  readonly react: (reaction: () => Promise<void>) => void;
}

/** Counts since the epoch attempt's start; `progress` in `client-messages.ts` says what they mean. */
export interface Tally {
  microbatchesDone: number;
  microbatchesLost: number;
  microbatchesInFlight: number;
  microbatchesRerouted: number;
  microbatchesStale: number;
  stalenessSum: number;
  stalenessMost: number;
  tokensBackward: number;
  /** Last stage only. */
  lossSumNats: number;
}

/** Sums over the microbatches that were sent on to the next stage. */
interface BoundaryTally {
  microbatches: number;
  rms: number;
  relativeError: number;
}

export class Epoch {
  readonly options: EpochOptions;
  readonly deliveries: Deliveries;
  /** Null where the replicas of a stage meet at the merge only. */
  readonly exchange: StepExchange | null;
  readonly tally: Tally = {
    microbatchesDone: 0,
    microbatchesLost: 0,
    microbatchesInFlight: 0,
    microbatchesRerouted: 0,
    microbatchesStale: 0,
    stalenessSum: 0,
    stalenessMost: 0,
    tokensBackward: 0,
    lossSumNats: 0,
  };
  readonly #boundary: BoundaryTally = { microbatches: 0, rms: 0, relativeError: 0 };
  /** Optimizer steps that this replica has taken: what it computes belongs to the next one. */
  stepsTaken = 0;
  #whenIdle: (() => void)[] = [];

  constructor(options: EpochOptions) {
    this.options = options;
    this.deliveries = new Deliveries(options);
    const { mode, compression } = options.place.training;
    const exchange = mode === "sync" ? null : compression.exchange;
    this.exchange = exchange && new StepExchange(options, exchange);
  }

  /** Takes the next optimizer step: by itself, or together with the other replicas of the stage. */
  async step(): Promise<void> {
    if (this.exchange === null) await this.options.compute.attempt("step", "step");
    else await this.exchange.take(this.stepsTaken);
    this.stepsTaken += 1;
  }

  /** The mean over what was sent on; null: nothing was. */
  get boundary(): BoundaryHealth | null {
    const { microbatches, rms, relativeError } = this.#boundary;
    return microbatches === 0 ? null : { rms: rms / microbatches, relativeError: relativeError / microbatches };
  }

  answer(to: MinerId, about: AnsweredKind, { epoch, attempt, step, microbatch }: MicrobatchMessage, verdict: Verdict) {
    const { peers, place, react, signal } = this.options;
    if (verdict === "stale") this.tally.microbatchesStale += 1;
    const answer = encodeAnswer({ epoch, attempt, step, microbatch, stage: place.stage.index, about, verdict });
    react(() => peers.send(to, "answer", answer, signal));
  }

  /** A microbatch began (+1) or came to its end (−1) here. */
  inFlight(change: 1 | -1): void {
    const { activity, signal } = this.options;
    if (signal.aborted) return; // it was forgotten with the epoch
    this.tally.microbatchesInFlight += change;
    activity.microbatchesInFlight += change;
    if (this.tally.microbatchesInFlight === 0) for (const tell of this.#whenIdle.splice(0)) tell();
  }

  /** Resolves when nothing is in flight here. */
  async idle(): Promise<void> {
    if (this.tally.microbatchesInFlight > 0) await new Promise<void>((resolve) => this.#whenIdle.push(resolve));
  }

  /** How the gradient of a microbatch goes back to the stage before. */
  gradientFormat(step: number, microbatch: number): GradientFormat {
    const { boundary, place } = this.options;
    return { format: boundary.backward, noise: noiseOf(place, step, microbatch) };
  }

  /** `boundary`: of what was sent on. */
  forwardDone(boundary: BoundaryHealth | null = null): void {
    if (boundary !== null) {
      this.#boundary.microbatches += 1;
      this.#boundary.rms += boundary.rms;
      this.#boundary.relativeError += boundary.relativeError;
    }
    this.options.activity.forward(tokensPerMicrobatch(this.options.place));
  }

  /** `stepsAtForward`: taken before the microbatch's forward pass. */
  backwardDone(stepsAtForward = this.stepsTaken): void {
    const { activity, clock, place } = this.options;
    const tokens = tokensPerMicrobatch(place);
    const staleness = this.stepsTaken - stepsAtForward;
    this.tally.microbatchesDone += 1;
    this.tally.tokensBackward += tokens;
    this.tally.stalenessSum += staleness;
    this.tally.stalenessMost = Math.max(this.tally.stalenessMost, staleness);
    activity.backward(tokens, clock.nowMs());
  }
}
