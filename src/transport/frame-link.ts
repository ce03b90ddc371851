/**
 * PeerLink over one connection: every message is cut into frames. The connection is the session's WebSocket, where the gateway passes
 * frames on to all peers, or a direct one to a single peer. When it closes, so does the link.
 */
import { randomInt } from "node:crypto";
import { FailureError } from "../protocol/failure.ts";
import { decodeFrame, encodeFrame, type MessageKind, maxMessageBytes, messageKinds } from "../protocol/frames.ts";
import type { MinerId } from "../protocol/ids.ts";
import type { PeerLink, PeerMessage } from "./peer-link.ts";
import type { Reassembly } from "./reassembly.ts";
import type { ByteBudget } from "./traffic/byte-budget.ts";

/** The part of a connection that the link needs; a WebSocket of `ws` has it. */
export interface FrameSocket {
  /** Bytes that were handed over and have not left. */
  readonly bufferedAmount: number;
  /** `done` is called when the bytes have left, or with the error that kept them. */
  send(bytes: Uint8Array, done: (error?: Error) => void): void;
}

/** When something may leave, and in which pieces; what leaves is the link's choice. `Traffic` has it. */
export interface Pacing {
  readonly chunkBytes: number;
  /** Bytes that may wait in the socket: enough to keep it busy, few enough that a gradient overtakes soon. */
  readonly maxBufferedBytes: number;
  readonly upload: Pick<ByteBudget, "isOpen" | "whenOpen">;
  /** A frame was handed to the socket, header and all; `waited`: until there was room for it. */
  wrote(bytes: number, waited: boolean, kind: MessageKind): void;
}

export interface FrameLinkOptions {
  readonly pacing: Pacing;
  readonly reassembly: Reassembly;
}

/** One message on its way out. */
interface Outgoing {
  readonly to: MinerId;
  readonly kind: MessageKind;
  readonly body: Uint8Array;
  /** Given with the first chunk, so that numbers rise on the wire although gradients overtake. */
  number: number | null;
  sentBytes: number;
  readonly resolve: () => void;
  readonly reject: (failure: FailureError) => void;
}

export class FrameLink implements PeerLink {
  readonly traffic = { sentBytes: 0, receivedBytes: 0 };
  readonly #socket: FrameSocket;
  readonly #pacing: Pacing;
  readonly #reassembly: Reassembly;
  /** The most urgent kind's first. */
  readonly #queues: ReadonlyMap<MessageKind, Outgoing[]> = new Map(messageKinds.map((kind) => [kind, []]));
  readonly #nextNumbers = new Map<MinerId, number>();
  #closed = false;
  /** Something waits for room in the socket. */
  #isFull = false;
  /** Set while it is not this link's turn to send. */
  #cancelTurn: (() => void) | null = null;
  #onMessage: (message: PeerMessage) => void = () => {};
  #onPeerLost: (peer: MinerId) => void = () => {};

  constructor(socket: FrameSocket, options: FrameLinkOptions) {
    this.#socket = socket;
    this.#pacing = options.pacing;
    this.#reassembly = options.reassembly;
  }

  onMessage(handler: (message: PeerMessage) => void): void {
    this.#onMessage = handler;
  }

  onPeerLost(handler: (peer: MinerId) => void): void {
    this.#onPeerLost = handler;
  }

  send(
    to: MinerId,
    kind: MessageKind,
    body: Uint8Array,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<void> {
    const { signal } = options;
    if (body.length > maxMessageBytes)
      return Promise.reject(new FailureError("message-too-large", `a message of ${body.length} bytes`));
    if (this.#closed) return Promise.reject(linkClosed());
    if (signal?.aborted) return Promise.reject(cancelled());
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const outgoing: Outgoing = { to, kind, body, number: null, sentBytes: 0, resolve, reject };
    const withdraw = () => {
      this.#remove((queued) => queued === outgoing, cancelled());
    };
    signal?.addEventListener("abort", withdraw, { once: true });
    this.#queues.get(kind)?.push(outgoing);
    this.#pump();
    return promise.finally(() => signal?.removeEventListener("abort", withdraw));
  }

  /** Takes a frame that came over the socket. Throws `FailureError` when it is not a frame: the gateway is not to be trusted then. */
  receive(bytes: Uint8Array): void {
    this.traffic.receivedBytes += bytes.length;
    const message = this.#reassembly.accept(decodeFrame(bytes));
    if (message !== null) this.#onMessage(message);
  }

  /** The gateway could not pass frames on to this peer. */
  peerUndeliverable(peer: MinerId): void {
    this.#remove(
      (queued) => queued.to === peer,
      new FailureError("unreachable", `miner ${peer} is gone`, { retry: true }),
    );
    this.#reassembly.forgetPeer(peer);
    this.#onPeerLost(peer);
  }

  close(): void {
    this.#closed = true;
    this.#cancelTurn?.();
    this.#remove(() => true, linkClosed());
  }

  #remove(which: (queued: Outgoing) => boolean, failure: FailureError): void {
    for (const queue of this.#queues.values())
      for (const outgoing of queue.filter(which)) {
        queue.splice(queue.indexOf(outgoing), 1);
        outgoing.reject(failure);
      }
  }

  /** Hands chunks to the socket until it has enough; each chunk that has left calls again, and so does the next turn. */
  #pump(): void {
    while (!this.#closed) {
      const queue = [...this.#queues.values()].find(({ length }) => length > 0);
      const outgoing = queue?.[0];
      if (queue === undefined || outgoing === undefined) {
        this.#isFull = false;
        return;
      }
      if (this.#socket.bufferedAmount >= this.#pacing.maxBufferedBytes) {
        this.#isFull = true;
        return;
      }
      if (!this.#pacing.upload.isOpen) {
        this.#awaitTurn();
        return;
      }
      this.#sendChunk(outgoing);
      if (outgoing.sentBytes < outgoing.body.length) continue;
      queue.shift();
      outgoing.resolve();
    }
  }

  #awaitTurn(): void {
    this.#cancelTurn ??= this.#pacing.upload.whenOpen("urgent", () => {
      this.#cancelTurn = null;
      this.#pump();
    });
  }

  #sendChunk(outgoing: Outgoing): void {
    outgoing.number ??= this.#takeNumber(outgoing.to);
    const chunk = outgoing.body.subarray(outgoing.sentBytes, outgoing.sentBytes + this.#pacing.chunkBytes);
    const bytes = encodeFrame({
      kind: outgoing.kind,
      peer: outgoing.to,
      messageNumber: outgoing.number,
      totalBytes: outgoing.body.length,
      offset: outgoing.sentBytes,
      chunk,
    });
    outgoing.sentBytes += chunk.length;
    this.traffic.sentBytes += bytes.length;
    this.#socket.send(bytes, (error) => {
      if (error) this.close();
      else this.#pump();
    });
    this.#pacing.wrote(bytes.length, this.#isFull, outgoing.kind);
  }

  /** Numbers begin anywhere, so that a receiver tells a new session from a repetition (`Reassembly`). */
  #takeNumber(to: MinerId): number {
    const number = this.#nextNumbers.get(to) ?? randomInt(2 ** 32);
    this.#nextNumbers.set(to, (number + 1) % 2 ** 32);
    return number;
  }
}

function linkClosed(): FailureError {
  return new FailureError("unreachable", "the connection is closed", { retry: true });
}

function cancelled(): FailureError {
  return new FailureError("cancelled", "sending was cancelled");
}
