/** A token bucket: `perSecond` on average, `burst` at once after a quiet time. */
export class RateLimit {
  readonly #perSecond: number;
  readonly #burst: number;
  readonly #clock: () => number;
  #tokens: number;
  #atMs: number;

  constructor(perSecond: number, burst: number, clock: () => number) {
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#clock = clock;
    this.#tokens = burst;
    this.#atMs = clock();
  }

  /** Whether it is as if nothing had ever been admitted. */
  get isRested(): boolean {
    this.#refill();
    return this.#tokens >= this.#burst;
  }

  admit(tokens = 1): boolean {
    this.#refill();
    if (this.#tokens < tokens) return false;
    this.#tokens -= tokens;
    return true;
  }

  /** Takes `amount` whether it is there or not. Returns how long it takes, in milliseconds, until nothing is owed. */
  spend(amount: number): number {
    this.#refill();
    this.#tokens -= amount;
    return Math.max(0, (-1000 * this.#tokens) / this.#perSecond);
  }

  /** Takes `amount`, but leaves no more owed than comes back in the time of a burst: many at once must not shut others out for long. */
  fine(amount: number): void {
    this.#refill();
    this.#tokens = Math.max(-this.#burst, this.#tokens - amount);
  }

  #refill(): void {
    const nowMs = this.#clock();
    this.#tokens = Math.min(this.#burst, this.#tokens + ((nowMs - this.#atMs) / 1000) * this.#perSecond);
    this.#atMs = nowMs;
  }
}
