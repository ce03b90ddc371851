/** How this miner's replicas speak to other replicas: over whatever link there is at the moment, or, on this very miner, without one. */
import { failureOf } from "../../protocol/failure.ts";
import type { MessageKind } from "../../protocol/frames.ts";
import type { MinerId } from "../../protocol/ids.ts";
import type { PeerLink, PeerMessage } from "../../transport/peer-link.ts";

export class Peers {
  readonly #self: MinerId;
  readonly #receive: (message: PeerMessage) => void;
  #link: PeerLink | null = null;

  /** `receive` takes what this miner's replicas say to each other. */
  constructor(self: MinerId, receive: (message: PeerMessage) => void) {
    this.#self = self;
    this.#receive = receive;
  }

  connected(link: PeerLink): void {
    this.#link = link;
  }

  disconnected(): void {
    this.#link = null;
  }

  /**
   * Resolves when the message has left, or cannot: whoever needs to know that it arrived waits for an answer and sends it again.
   * Rejects only when `signal` is aborted.
   */
  async send(to: MinerId, kind: MessageKind, body: Uint8Array, signal?: AbortSignal): Promise<void> {
    if (to === this.#self) {
      queueMicrotask(() => this.#receive({ from: to, kind, body }));
      return;
    }
    try {
      await this.#link?.send(to, kind, body, { signal });
    } catch (error) {
      if (failureOf(error)?.code !== "unreachable") throw error;
    }
  }
}
