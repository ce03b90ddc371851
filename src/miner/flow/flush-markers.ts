/** Tells every replica of the other stages that this source's step is over, until each has heard it. A newer marker implies the older ones. */
import type { MinerId } from "../../protocol/ids.ts";
import type { Epoch } from "./epoch.ts";

interface Receiver {
  /** The newest step that it has heard of; −1: none. */
  heard: number;
  isBeingTold: boolean;
}

export class FlushMarkers {
  readonly #epoch: Epoch;
  readonly #receivers = new Map<string, Receiver>();
  #newest = -1;

  constructor(epoch: Epoch) {
    this.#epoch = epoch;
    // Who came back may have missed one.
    epoch.options.routes.onChange(() => this.#tellAll());
  }

  flush(step: number): void {
    this.#newest = Math.max(this.#newest, step);
    this.#tellAll();
  }

  #tellAll(): void {
    const { routes, place, react } = this.#epoch.options;
    for (let stage = 1; stage < place.stage.count; stage++)
      for (const { minerId } of routes.live(stage)) react(() => this.#tell(minerId, stage));
  }

  async #tell(miner: MinerId, stage: number): Promise<void> {
    const key = `${stage} ${miner}`;
    const receiver = this.#receivers.get(key) ?? { heard: -1, isBeingTold: false };
    this.#receivers.set(key, receiver);
    if (receiver.isBeingTold) return;
    receiver.isBeingTold = true;
    while (receiver.heard < this.#newest) {
      const step = this.#newest;
      const outcome = await this.#epoch.deliveries.deliver(miner, "flush", this.#marker(step, stage));
      if (outcome === "gone") break;
      receiver.heard = step;
    }
    receiver.isBeingTold = false;
  }

  #marker(step: number, stage: number) {
    const { place, self } = this.#epoch.options;
    const { epoch, attempt } = place.at;
    const nothing = { microbatch: 0, sequences: 0, rows: 0, columns: 0, origin: null, payload: new Uint8Array(0) };
    return { epoch, attempt, step, stage, path: [self], ...nothing };
  }
}
