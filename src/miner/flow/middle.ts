/** A stage in the middle: passes activations on, and gradients back. */
import { channelsBefore } from "../../compute/model/parts.ts";
import type { MinerId } from "../../protocol/ids.ts";
import type { Epoch } from "./epoch.ts";
import { type Held, releaseInput } from "./held-microbatches.ts";
import type { Received } from "./inbound.ts";
import type { Carrier } from "./later-stage.ts";
import { Onward, type Returned } from "./onward.ts";

export class Middle implements Carrier {
  readonly #epoch: Epoch;
  readonly #onward: Onward;
  readonly #isHeld: (held: Held) => boolean;

  constructor(epoch: Epoch, isHeld: (held: Held) => boolean) {
    this.#epoch = epoch;
    this.#onward = new Onward(epoch);
    this.#isHeld = isHeld;
  }

  async carry(held: Held): Promise<Returned | null> {
    const { compute, self, place } = this.#epoch.options;
    const { step, sequences, rows, payload: activations, microbatch: index } = held.message;
    const microbatch = String(index);
    const send = { format: this.#epoch.options.boundary.forward };
    const input = { microbatch, sequences, rows, activations, send };
    const forward = await compute.attempt("forward", "forward", input);
    if (forward === null) return null;
    releaseInput(held);
    this.#epoch.forwardDone(forward.boundary);
    const stepsAtForward = this.#epoch.stepsTaken;
    // Its step may have ended while it was computed.
    const returned = this.#isHeld(held)
      ? await this.#onward.exchange({
          ...held.message,
          stage: place.stage.index + 1,
          path: [...held.message.path, self],
          columns: channelsBefore(place.model, place.stage.toLayer),
          origin: held.message.record,
          payload: forward.activations,
        })
      : null;
    const gradient = returned?.gradient;
    const backward =
      gradient &&
      (await compute.attempt("backward", "backward", {
        ...{ microbatch, gradient },
        send: this.#epoch.gradientFormat(step, index),
      }));
    if (returned === null || backward?.inputGradient == null) {
      await compute.run("step", "discard", { microbatches: [microbatch] });
      return null;
    }
    this.#epoch.backwardDone(stepsAtForward);
    return { ...returned, gradient: backward.inputGradient };
  }

  returned(from: MinerId, message: Received): void {
    this.#onward.receive(from, message);
  }

  lost(from: MinerId, microbatch: number): void {
    this.#onward.lost(from, microbatch);
  }

  giveUp({ message }: Held): void {
    this.#onward.giveUp(message.microbatch);
  }
}
