/** A token bucket: `perSecond` on average, as many at once after a quiet second. */
export class RateLimit {
  readonly #perSecond: number;
  readonly #clock: () => number;
  #tokens: number;
  #atMs: number;

  constructor(perSecond: number, clock: () => number) {
    this.#perSecond = perSecond;
    this.#clock = clock;
    this.#tokens = perSecond;
    this.#atMs = clock();
  }

  admit(): boolean {
    const nowMs = this.#clock();
    this.#tokens = Math.min(this.#perSecond, this.#tokens + ((nowMs - this.#atMs) / 1000) * this.#perSecond);
    this.#atMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}
