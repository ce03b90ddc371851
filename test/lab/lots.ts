/** Draws by seed: the same seed and name draw the same lots, in the order in which they are asked for. */
import { type Key, streamKey, uniform } from "../../src/compute/random.ts";

export class Lots {
  readonly #key: Key;
  #drawn = 0;

  constructor(seed: number, name: string) {
    this.#key = streamKey(seed, name);
  }

  /** In [0, 1). */
  draw(): number {
    return uniform(this.#key, 0, this.#drawn++);
  }

  /** One of them, which must not be none. */
  pick<T>(from: readonly T[]): T {
    const picked = from[Math.floor(this.draw() * from.length)];
    if (picked === undefined) throw new RangeError("there is nothing to draw from");
    return picked;
  }
}
