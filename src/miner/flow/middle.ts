/** The part of a stage in the middle: passes activations on, gradients back, and steps when a flush marker comes by. */

import { assertNever } from "../../protocol/assert-never.ts";
import type { MessageKind } from "../../protocol/frames.ts";
import type { MinerId } from "../../protocol/ids.ts";
import type { MicrobatchMessage } from "../../protocol/microbatch.ts";
import type { Epoch, Role } from "./epoch.ts";
import { type Held, HeldMicrobatches, stepKey } from "./held-microbatches.ts";

export class Middle implements Role {
  readonly #epoch: Epoch;
  readonly #held: HeldMicrobatches;
  /** The flush markers that were passed on, by step and receiver. */
  readonly #passedOn = new Set<string>();

  constructor(epoch: Epoch) {
    this.#epoch = epoch;
    this.#held = new HeldMicrobatches((abandoned) => this.#abandon(abandoned));
  }

  /** Everything happens when messages come. */
  async run(): Promise<void> {}

  receive(from: MinerId, kind: MessageKind, message: MicrobatchMessage): void {
    switch (kind) {
      case "forward":
        this.#epoch.options.react(() => this.#forward(from, message));
        return;
      case "backward":
        this.#epoch.options.react(() => this.#backward(from, message));
        return;
      case "flush":
        this.#epoch.options.react(() => this.#flush(message));
        return;
      default:
        assertNever(kind);
    }
  }

  async #forward(from: MinerId, message: MicrobatchMessage): Promise<void> {
    const { compute, dropped } = this.#epoch.options;
    const held = this.#held.admit(message);
    if (held === null) return dropped(from, `microbatch ${message.microbatch} came again or too late`);
    const microbatch = keyOf(held);
    this.#epoch.inFlight(1);
    const { sequences, values } = message;
    const result = await compute.attempt("forward", "forward", { microbatch, sequences, activations: values });
    if (!this.#held.isHeld(held)) {
      // Its step ended while it was computed.
      await compute.run("step", "discard", { microbatches: [microbatch] });
      return;
    }
    const next = this.#neighbour(held, +1);
    if (result === null || next === undefined) {
      this.#held.drop(held);
      this.#abandon([held]);
      return;
    }
    this.#epoch.forwardDone();
    held.forwarded = true;
    await this.#epoch.send(next, "forward", { ...message, values: result.activations });
  }

  async #backward(from: MinerId, message: MicrobatchMessage): Promise<void> {
    const { compute, dropped } = this.#epoch.options;
    const held = this.#held.release(message);
    if (held === null) return dropped(from, `nothing waits for the gradient of microbatch ${message.microbatch}`);
    const result = await compute.attempt("backward", "backward", {
      microbatch: keyOf(held),
      gradient: message.values,
    });
    if (result?.inputGradient == null) {
      this.#abandon([held]);
      return;
    }
    this.#epoch.inFlight(-1);
    this.#epoch.backwardDone();
    const previous = this.#neighbour(held, -1);
    if (previous !== undefined)
      await this.#epoch.send(previous, "backward", { ...message, values: result.inputGradient });
  }

  /** A step has a marker for each of its paths: the first makes this replica step, and everyone who follows on one gets one. */
  async #flush(message: MicrobatchMessage): Promise<void> {
    const isNews = this.#held.flush(message);
    await Promise.all([
      this.#passOn(message),
      isNews ? this.#epoch.options.compute.attempt("step", "step") : undefined,
    ]);
  }

  async #passOn(message: MicrobatchMessage): Promise<void> {
    const next = message.path[this.#epoch.options.place.stage.index + 1];
    if (next === undefined) return;
    const marker = `${stepKey(message)} ${next}`;
    if (this.#passedOn.has(marker)) return;
    this.#passedOn.add(marker);
    await this.#epoch.flush(next, message.step, message.path);
  }

  #abandon(abandoned: readonly Held[]): void {
    const { compute } = this.#epoch.options;
    for (const _ of abandoned) this.#epoch.inFlight(-1);
    this.#epoch.tally.microbatchesLost += abandoned.length;
    this.#epoch.options.react(() => compute.run("step", "discard", { microbatches: abandoned.map(keyOf) }));
  }

  #neighbour(held: Held, distance: -1 | 1): MinerId | undefined {
    return held.path[this.#epoch.options.place.stage.index + distance];
  }
}

function keyOf(held: Held): string {
  return String(held.microbatch);
}
