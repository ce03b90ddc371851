/**
 * PeerLink between the miners of one process, for tests: delivers in turns that the test steers. Messages may be held back,
 * dropped or doubled on command; nothing depends on time.
 */
import { FailureError } from "../protocol/failure.ts";
import { type MessageKind, maxMessageBytes, messageKinds } from "../protocol/frames.ts";
import type { MinerId } from "../protocol/ids.ts";
import type { PeerLink, PeerMessage } from "./peer-link.ts";

export type Fate = "deliver" | "drop" | "hold" | "double";

export interface AddressedMessage extends PeerMessage {
  readonly to: MinerId;
}

/** What connects memory links. */
export class MemoryNetwork {
  /** Decides each message's fate; without one, all are delivered. */
  fate: (message: AddressedMessage) => Fate = () => "deliver";
  readonly #links = new Map<MinerId, MemoryLink>();
  #held: AddressedMessage[] = [];

  link(self: MinerId): PeerLink {
    const link = new MemoryLink(self, this);
    this.#links.set(self, link);
    return link;
  }

  has(peer: MinerId): boolean {
    return this.#links.has(peer);
  }

  /** The peer is gone: everybody else is told when they next send to it. */
  remove(peer: MinerId): void {
    this.#links.delete(peer);
  }

  /** Delivers what was held back, in order: all of it, or what `isDue`. */
  release(isDue: (message: AddressedMessage) => boolean = () => true): void {
    const due = this.#held.filter(isDue);
    this.#held = this.#held.filter((message) => !due.includes(message));
    for (const message of due) this.#deliver(message);
  }

  pass(message: AddressedMessage): void {
    const fate = this.fate(message);
    if (fate === "hold") this.#held.push(message);
    if (fate === "deliver" || fate === "double") this.#deliver(message);
    if (fate === "double") this.#deliver(message);
  }

  #deliver(message: AddressedMessage): void {
    this.#links.get(message.to)?.deliver(message);
  }
}

class MemoryLink implements PeerLink {
  readonly traffic = { sentBytes: 0, receivedBytes: 0 };
  readonly #self: MinerId;
  readonly #network: MemoryNetwork;
  /** The most urgent kind's first. */
  readonly #queues: ReadonlyMap<MessageKind, AddressedMessage[]> = new Map(messageKinds.map((kind) => [kind, []]));
  #onMessage: (message: PeerMessage) => void = () => {};
  #onPeerLost: (peer: MinerId) => void = () => {};
  #closed = false;

  constructor(self: MinerId, network: MemoryNetwork) {
    this.#self = self;
    this.#network = network;
  }

  async send(to: MinerId, kind: MessageKind, body: Uint8Array, options: { readonly signal?: AbortSignal } = {}) {
    if (body.length > maxMessageBytes) throw new FailureError("message-too-large", `a message of ${body.length} bytes`);
    if (options.signal?.aborted) throw new FailureError("cancelled", "sending was cancelled");
    if (this.#closed) throw new FailureError("unreachable", "the link is closed", { retry: true });
    if (!this.#network.has(to)) {
      queueMicrotask(() => this.#onPeerLost(to));
      throw new FailureError("unreachable", `miner ${to} is gone`, { retry: true });
    }
    const message = { from: this.#self, to, kind, body: Uint8Array.from(body) };
    this.#queues.get(kind)?.push(message);
    this.traffic.sentBytes += body.length;
    // What is sent in one turn of the event loop goes out after it, the most urgent first.
    setImmediate(() => this.#sendNext());
  }

  #sendNext(): void {
    const message = [...this.#queues.values()].find(({ length }) => length > 0)?.shift();
    if (message !== undefined && !this.#closed) this.#network.pass(message);
  }

  deliver(message: PeerMessage): void {
    if (this.#closed) return;
    this.traffic.receivedBytes += message.body.length;
    this.#onMessage({ from: message.from, kind: message.kind, body: message.body });
  }

  onMessage(handler: (message: PeerMessage) => void): void {
    this.#onMessage = handler;
  }

  onPeerLost(handler: (peer: MinerId) => void): void {
    this.#onPeerLost = handler;
  }

  close(): void {
    this.#closed = true;
    this.#network.remove(this.#self);
  }
}
