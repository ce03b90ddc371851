/** One epoch of training as the roles (`source.ts`, `middle.ts`, `last.ts`) see it: what they use and what they account for. */
import { failureOf } from "../../protocol/failure.ts";
import type { MessageKind } from "../../protocol/frames.ts";
import type { MinerId } from "../../protocol/ids.ts";
import { encodeMicrobatch, type MicrobatchMessage } from "../../protocol/microbatch.ts";
import type { PeerLink } from "../../transport/peer-link.ts";
import type { Samples } from "../data/samples-from-blobs.ts";
import type { Clock } from "../session/clock.ts";
import type { Activity } from "./activity.ts";
import type { ComputeQueue } from "./compute-queue.ts";
import { type Place, tokensPerMicrobatch } from "./place.ts";
import type { Routes } from "./routes.ts";

/** A role in an epoch. */
export interface Role {
  /** A microbatch message that was found to be in order. */
  receive(from: MinerId, kind: MessageKind, message: MicrobatchMessage): void;
  /** Settles when this replica has nothing more to begin. */
  run(): Promise<void>;
}

export interface EpochOptions {
  readonly place: Place;
  readonly self: MinerId;
  readonly routes: Routes;
  readonly compute: ComputeQueue;
  readonly samples: Samples;
  readonly link: PeerLink;
  readonly activity: Activity;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Something was dropped, and why. */
  readonly dropped: (from: MinerId, reason: string) => void;
  /** Does what a message asks for; what goes wrong in it is this replica's failure, unless the epoch is over. */
  readonly react: (reaction: () => Promise<void>) => void;
}

/** Counts since the epoch attempt's start. */
export interface Tally {
  microbatchesDone: number;
  microbatchesLost: number;
  microbatchesInFlight: number;
  tokensBackward: number;
  /** Last stage only. */
  lossSumNats: number;
}

export class Epoch {
  readonly options: EpochOptions;
  readonly tally: Tally = {
    microbatchesDone: 0,
    microbatchesLost: 0,
    microbatchesInFlight: 0,
    tokensBackward: 0,
    lossSumNats: 0,
  };

  constructor(options: EpochOptions) {
    this.options = options;
  }

  /** Sends to a peer; false when it is gone, which the routes then know. */
  async send(to: MinerId, kind: MessageKind, message: MicrobatchMessage): Promise<boolean> {
    const { link, routes, signal } = this.options;
    try {
      await link.send(to, kind, encodeMicrobatch(message), { signal });
      return true;
    } catch (error) {
      if (failureOf(error)?.code !== "unreachable") throw error;
      routes.peerLost(to);
      return false;
    }
  }

  /** The marker that ends a step of the path's source. */
  async flush(to: MinerId, step: number, path: readonly MinerId[]): Promise<boolean> {
    const { at } = this.options.place;
    return this.send(to, "flush", {
      epoch: at.epoch,
      attempt: at.attempt,
      step,
      microbatch: 0,
      sequences: 0,
      path,
      rows: 0,
      columns: 0,
      values: new Float32Array(0),
    });
  }

  /** A microbatch began (+1) or came to its end (−1) here. */
  inFlight(change: 1 | -1): void {
    this.tally.microbatchesInFlight += change;
    this.options.activity.microbatchesInFlight = this.tally.microbatchesInFlight;
  }

  forwardDone(): void {
    this.options.activity.forward(tokensPerMicrobatch(this.options.place));
  }

  backwardDone(): void {
    const { activity, clock, place } = this.options;
    const tokens = tokensPerMicrobatch(place);
    this.tally.microbatchesDone += 1;
    this.tally.tokensBackward += tokens;
    activity.backward(tokens, clock.nowMs());
  }
}
