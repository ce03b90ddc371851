/** How long answers of a peer take, and how long to wait for one: as TCP does it (RFC 6298, sections 2 and 5). */

/**
 * An answer is waited for by what was measured of the peer, within these, and twice as long each time that it is asked again: a
 * laptop may be busy for a while, and everybody waits for what is lost.
 */
const shortestTimeoutMs = 400;
const longestTimeoutMs = 10_000;
/** While nothing was measured. */
const firstTimeoutMs = 2000;

export class RoundTrip {
  #smoothedMs: number | null = null;
  #variationMs = 0;

  measured(roundTripMs: number): void {
    if (this.#smoothedMs === null) {
      this.#smoothedMs = roundTripMs;
      this.#variationMs = roundTripMs / 2;
      return;
    }
    this.#variationMs += (Math.abs(this.#smoothedMs - roundTripMs) - this.#variationMs) / 4;
    this.#smoothedMs += (roundTripMs - this.#smoothedMs) / 8;
  }

  /** `sends`: how often it was sent by now. `leastMs`: what the answer may take on any link. */
  timeoutMs(sends: number, leastMs = 0): number {
    const neededMs = this.#smoothedMs === null ? firstTimeoutMs : this.#smoothedMs + 4 * this.#variationMs;
    return Math.min(longestTimeoutMs, Math.max(shortestTimeoutMs + leastMs, neededMs) * 2 ** (sends - 1));
  }
}
