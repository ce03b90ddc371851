/** What this miner has done since it started, over all epochs. */

/** The rate is taken over the last few seconds. */
const windowMs = 5000;

export class Activity {
  tokensForward = 0;
  tokensBackward = 0;
  microbatchesInFlight = 0;
  #recent: { readonly atMs: number; readonly tokens: number }[] = [];
  #trainingMs = 0;
  #trainingSinceMs: number | null = null;

  forward(tokens: number): void {
    this.tokensForward += tokens;
  }

  backward(tokens: number, atMs: number): void {
    this.tokensBackward += tokens;
    this.#recent.push({ atMs, tokens });
    this.#forgetBefore(atMs - windowMs);
  }

  /** Tells when training begins and ends; saying it again changes nothing. */
  training(isTraining: boolean, atMs: number): void {
    if (isTraining) this.#trainingSinceMs ??= atMs;
    else {
      this.#trainingMs = this.#trainingMsAt(atMs);
      this.#trainingSinceMs = null;
    }
  }

  tokensPerSecond(nowMs: number): number {
    this.#forgetBefore(nowMs - windowMs);
    return this.#recent.reduce((sum, { tokens }) => sum + tokens, 0) / (windowMs / 1000);
  }

  trainingSeconds(nowMs: number): number {
    return this.#trainingMsAt(nowMs) / 1000;
  }

  #trainingMsAt(nowMs: number): number {
    return this.#trainingMs + (this.#trainingSinceMs === null ? 0 : nowMs - this.#trainingSinceMs);
  }

  #forgetBefore(atMs: number): void {
    this.#recent = this.#recent.filter((entry) => entry.atMs >= atMs);
  }
}
