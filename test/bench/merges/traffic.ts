/** Counts what replicas send each other. */

/** The mean size of payloads that each stand for a whole vector, cut in pieces or not. */
export class PayloadMeter {
  #bytes = 0;
  #vectors = 0;

  count(pieces: readonly Uint8Array[]): void {
    this.#bytes += pieces.reduce((sum, { length }) => sum + length, 0);
    this.#vectors++;
  }

  /** Null when nothing was sent. */
  bytesPerParameter(parameters: number): number | null {
    return this.#vectors === 0 ? null : this.#bytes / this.#vectors / parameters;
  }
}
