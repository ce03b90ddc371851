/** What a `FrameLink` sends over a direct connection with: it takes bytes while the stream is not full and the peer has granted some. */
import type { FrameSocket } from "../frame-link.ts";
import type { DirectStream } from "./direct-stream.ts";

export class GrantedSocket implements FrameSocket {
  readonly #stream: Pick<DirectStream, "write">;
  #sentBytes = 0;
  #grantedBytes = 0;
  /** Until it drains. */
  #isFull = false;
  #whenTaken: (() => void)[] = [];

  constructor(stream: Pick<DirectStream, "write">) {
    this.#stream = stream;
  }

  get bufferedAmount(): number {
    return !this.#isFull && this.#sentBytes < this.#grantedBytes ? 0 : Number.POSITIVE_INFINITY;
  }

  send(bytes: Uint8Array, done: () => void): void {
    this.#sentBytes += bytes.length;
    this.#whenTaken.push(done);
    if (!this.#stream.write(bytes)) this.#isFull = true;
  }

  /** So many bytes may be sent in all. Grants never shrink. */
  grant(bytes: number): void {
    this.#grantedBytes = Math.max(this.#grantedBytes, bytes);
    this.#wake();
  }

  drained(): void {
    this.#isFull = false;
    this.#wake();
  }

  #wake(): void {
    if (this.bufferedAmount > 0) return;
    for (const taken of this.#whenTaken.splice(0)) taken();
  }
}
