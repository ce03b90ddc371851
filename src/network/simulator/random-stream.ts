/** Draws of one kind for one miner: the n-th is the same whatever else happened, so that scenarios can be compared. */
import { streamKey, uniform } from "../../compute/random.ts";

export class RandomStream {
  readonly #key: ReturnType<typeof streamKey>;
  #drawn = 0;

  constructor(seed: number, name: string) {
    this.#key = streamKey(seed, name);
  }

  /** In [0, 1). */
  uniform(): number {
    return uniform(this.#key, 0, this.#drawn++);
  }

  /** The time until something that happens at random, so many times per hour on average. */
  waitMs(timesPerHour: number): number {
    return timesPerHour === 0 ? Number.POSITIVE_INFINITY : this.#exponential() * (3_600_000 / timesPerHour);
  }

  /** At random around a mean. */
  durationMs(meanMs: number): number {
    return this.#exponential() * meanMs;
  }

  /** Half of the draws below the median, two thirds within a factor of e ** deviation. */
  logNormal(median: number, deviation: number): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return median * Math.exp(deviation * radius * Math.cos(2 * Math.PI * this.uniform()));
  }

  /** An index, with these probabilities relative to each other. */
  choose(weights: readonly number[]): number {
    let left = this.uniform() * weights.reduce((sum, weight) => sum + weight, 0);
    const index = weights.findIndex((weight) => {
      left -= weight;
      return left < 0;
    });
    return index === -1 ? weights.length - 1 : index;
  }

  #exponential(): number {
    return -Math.log(1 - this.uniform());
  }
}
