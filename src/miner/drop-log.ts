import type { MinerId } from "../protocol/ids.ts";

/** Says what was dropped ever more rarely, so that a hostile peer cannot fill the log. */
export class DropLog {
  readonly #write: (text: string) => void;
  #count = 0;

  constructor(write: (text: string) => void) {
    this.#write = write;
  }

  dropped(from: MinerId, reason: string): void {
    this.#count += 1;
    const isPowerOfTwo = (this.#count & (this.#count - 1)) === 0;
    if (isPowerOfTwo) this.#write(`Dropped message ${this.#count}, from ${from.slice(0, 8)}: ${reason}`);
  }
}
