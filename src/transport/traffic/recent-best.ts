/** The best of what was measured of late: of this period and the one before, so that no single measurement has to be kept. */
export class RecentBest {
  readonly #periodMs: number;
  readonly #better: (one: number, other: number) => number;
  #before: number | null = null;
  #now: number | null = null;
  #sinceMs = 0;

  /** `better`: `Math.min` or `Math.max`. */
  constructor(periodMs: number, better: (one: number, other: number) => number) {
    this.#periodMs = periodMs;
    this.#better = better;
  }

  /** Null: nothing was measured. */
  get best(): number | null {
    if (this.#before === null || this.#now === null) return this.#now;
    return this.#better(this.#before, this.#now);
  }

  /** Periods end only here: what is not measured any more stays as it was. */
  measured(value: number, atMs: number): void {
    if (this.#now === null || atMs - this.#sinceMs >= this.#periodMs) {
      this.#before = this.#now;
      this.#now = value;
      this.#sinceMs = atMs;
    } else this.#now = this.#better(this.#now, value);
  }
}
