/** What happens to one miner, and when: independent of everything else, so that it is the same in every simulation of a scenario. */
import { RandomStream } from "./random-stream.ts";
import type { Disturbances } from "./scenario.ts";

export type TroubleKind = keyof Disturbances;

export interface Trouble {
  readonly kind: TroubleKind;
  /** Until it begins. */
  readonly waitMs: number;
  readonly lastsMs: number;
}

const msPerMinute = 60_000;

export class Troubles {
  readonly #random: RandomStream;
  readonly #disturbances: Disturbances;

  constructor(seed: number, miner: number, disturbances: Disturbances) {
    this.#random = new RandomStream(seed, `troubles of miner ${miner}`);
    this.#disturbances = disturbances;
  }

  /** Null: nothing happens to it any more. */
  next(): Trouble | null {
    const { crashes, sleeps, leaves, slowdowns } = this.#disturbances;
    const kinds = ["crashes", "sleeps", "leaves", "slowdowns"] as const;
    const rates = [crashes, sleeps, leaves, slowdowns].map(({ perHour }) => perHour);
    const total = rates.reduce((sum, rate) => sum + rate, 0);
    if (total === 0) return null;
    const waitMs = this.#random.waitMs(total);
    const kind = kinds[this.#random.choose(rates)] ?? "crashes";
    return { kind, waitMs, lastsMs: this.#random.durationMs(this.#disturbances[kind].minutes * msPerMinute) };
  }
}
