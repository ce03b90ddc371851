/** The last stage's part: forward, loss and backward at once, so that nothing is held here; the gradient goes back at once. */
import type { MessageKind } from "../../protocol/frames.ts";
import type { MinerId } from "../../protocol/ids.ts";
import type { MicrobatchMessage } from "../../protocol/microbatch.ts";
import type { Epoch, Role } from "./epoch.ts";
import { HeldMicrobatches } from "./held-microbatches.ts";

export class Last implements Role {
  readonly #epoch: Epoch;
  readonly #held: HeldMicrobatches;

  constructor(epoch: Epoch) {
    this.#epoch = epoch;
    // What waits in the queue is computed all the same: its gradient is late and ignored where it arrives.
    this.#held = new HeldMicrobatches(() => undefined);
  }

  /** Everything happens when messages come. */
  async run(): Promise<void> {}

  receive(from: MinerId, kind: MessageKind, message: MicrobatchMessage): void {
    if (kind === "forward") this.#epoch.options.react(() => this.#forwardBackward(from, message));
    if (kind === "flush") this.#epoch.options.react(() => this.#flush(message));
  }

  async #forwardBackward(from: MinerId, message: MicrobatchMessage): Promise<void> {
    const { compute, samples, place, signal, dropped } = this.#epoch.options;
    const held = this.#held.admit(message);
    if (held === null) return dropped(from, `microbatch ${message.microbatch} came again or too late`);
    this.#epoch.inFlight(1);
    const { targets } = await samples.sample({ epoch: place.at.epoch, index: message.microbatch }, signal);
    const result = await compute.attempt("forward", "forwardBackward", {
      microbatch: String(message.microbatch),
      sequences: message.sequences,
      activations: message.values,
      targets,
    });
    this.#epoch.inFlight(-1);
    this.#held.drop(held);
    if (result?.inputGradient == null) {
      this.#epoch.tally.microbatchesLost += 1;
      return;
    }
    this.#epoch.tally.lossSumNats += result.lossSumNats;
    this.#epoch.forwardDone();
    this.#epoch.backwardDone();
    const previous = message.path[place.stage.index - 1];
    if (previous !== undefined)
      await this.#epoch.send(previous, "backward", { ...message, values: result.inputGradient });
  }

  async #flush(message: MicrobatchMessage): Promise<void> {
    if (this.#held.flush(message)) await this.#epoch.options.compute.attempt("step", "step");
  }
}
