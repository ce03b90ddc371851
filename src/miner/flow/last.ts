/** The last stage: forward, loss and backward at once, so that nothing is kept in between; the gradient goes back at once. */
import type { Epoch } from "./epoch.ts";
import { type Held, releaseInput } from "./held-microbatches.ts";
import type { Carrier } from "./later-stage.ts";
import type { Returned } from "./onward.ts";

export class Last implements Carrier {
  readonly #epoch: Epoch;

  constructor(epoch: Epoch) {
    this.#epoch = epoch;
  }

  async carry(held: Held): Promise<Returned | null> {
    const { compute, samples, place, self, signal } = this.#epoch.options;
    const { step, microbatch, sequences, rows, payload: activations } = held.message;
    const { targets } = await samples.sample({ epoch: place.at.epoch, index: microbatch }, signal);
    const result = await compute.attempt("forward", "forwardBackward", {
      microbatch: String(microbatch),
      ...{ sequences, rows, activations, targets },
      send: this.#epoch.gradientFormat(step, microbatch),
    });
    releaseInput(held);
    if (result?.inputGradient == null) return null;
    this.#epoch.tally.lossSumNats += result.lossSumNats;
    this.#epoch.forwardDone();
    this.#epoch.backwardDone();
    return { gradient: result.inputGradient, path: [...held.message.path, self], origin: held.message.record };
  }

  /** Nobody stands behind the last stage. */
  returned(): void {}
  lost(): void {}

  /** What waits in the queue is computed all the same; nobody asks for its gradient. */
  giveUp(): void {}
}
