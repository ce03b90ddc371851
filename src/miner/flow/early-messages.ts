/** Messages that overtook this replica's own `start`: kept until it comes, within bounds. */
import type { PeerMessage } from "../../transport/peer-link.ts";

const maxMessages = 256;
const maxTotalBytes = 256 << 20;

export class EarlyMessages {
  #messages: PeerMessage[] = [];
  #totalBytes = 0;

  /** False when there is no room: the message is lost. */
  keep(message: PeerMessage): boolean {
    if (this.#messages.length >= maxMessages || this.#totalBytes + message.body.length > maxTotalBytes) return false;
    this.#messages.push(message);
    this.#totalBytes += message.body.length;
    return true;
  }

  takeAll(): readonly PeerMessage[] {
    const messages = this.#messages;
    this.#messages = [];
    this.#totalBytes = 0;
    return messages;
  }
}
