/**
 * One client's WebSocket, from challenge to closing. It proves who the client is and turns bytes into checked messages and
 * frames; what they mean is the gateway's business.
 */
import { randomBytes } from "node:crypto";
import type { WebSocket } from "ws";
import { type Failure, FailureError, failureOf } from "../../protocol/failure.ts";
import { isFrame } from "../../protocol/frames.ts";
import { sessionProof, verifySignature } from "../../protocol/identity.ts";
import type { MinerId } from "../../protocol/ids.ts";
import { closeCodes } from "../../protocol/local-api.ts";
import {
  type ClientMessage,
  decodeClientMessage,
  encodeMessage,
  type GatewayMessage,
  protocolVersion,
} from "../../protocol/messages.ts";
import { RateLimit } from "./rate-limit.ts";

export type Hello = Extract<ClientMessage, { type: "hello" }>;
/** What an open session may say. */
export type SessionMessage = Exclude<ClientMessage, Hello>;

export interface SessionLimits {
  /** Without a valid `hello` by then the connection is closed. */
  readonly helloMs: number;
  /** Without a sign of life for so long it is closed. */
  readonly silenceMs: number;
  /** Control messages; a replica in training says about three per second. */
  readonly messagesPerSecond: number;
  /** Refused messages at once after which the connection is closed; forgiven at one per ten seconds. */
  readonly refusals: number;
  /** A client that lets so much lie unread is closed. */
  readonly unreadBytes: number;
}

export const defaultSessionLimits: SessionLimits = {
  helloMs: 10_000,
  silenceMs: 15_000,
  messagesPerSecond: 100,
  refusals: 10,
  unreadBytes: 64 << 20,
};

const forgivenPerSecond = 0.1;

export interface SessionHandlers {
  /** The client is who it says. */
  opened(session: Session): void;
  /** May throw `FailureError`, which is answered by `refused`. */
  message(session: Session, message: SessionMessage): void;
  /** May throw `FailureError`. `bytes` is the whole frame, which the handler may keep and change. */
  frame(session: Session, bytes: Uint8Array): void;
  closed(session: Session): void;
  /** A bug met while handling what this client sent. */
  bug(error: unknown): void;
}

export class Session {
  readonly nonce: Uint8Array<ArrayBuffer> = Uint8Array.from(randomBytes(32));
  readonly blobToken: string = randomBytes(32).toString("base64url");
  /** When the client was last heard of; the gateway's clock. */
  heardAtMs: number;
  /** The client's first message, once it is proven. */
  hello: Hello | null = null;
  readonly #socket: WebSocket;
  readonly #networkId: string;
  readonly #handlers: SessionHandlers;
  readonly #limits: SessionLimits;
  readonly #messages: RateLimit;
  readonly #refusals: RateLimit;
  readonly #clock: () => number;
  readonly #openedAtMs: number;
  /** Slow receivers that this client's frames wait for. */
  readonly #heldFor = new Set<MinerId>();
  #closed = false;

  constructor(
    socket: WebSocket,
    options: {
      readonly networkId: string;
      readonly handlers: SessionHandlers;
      readonly limits: SessionLimits;
      readonly clock: () => number;
    },
  ) {
    const { networkId, handlers, limits, clock } = options;
    this.#socket = socket;
    this.#networkId = networkId;
    this.#handlers = handlers;
    this.#limits = limits;
    this.#clock = clock;
    this.#openedAtMs = this.heardAtMs = clock();
    this.#messages = new RateLimit(limits.messagesPerSecond, limits.messagesPerSecond, clock);
    this.#refusals = new RateLimit(forgivenPerSecond, limits.refusals, clock);
    socket.on("message", (data: Buffer, isBinary: boolean) => this.#receive(data, isBinary));
    socket.on("pong", () => this.#heard());
    socket.on("error", () => socket.terminate()); // Oversized or invalid WebSocket messages; `close` follows.
    socket.on("close", () => this.#end());
    this.send({ type: "challenge", protocol: protocolVersion, networkId, nonce: this.nonce });
  }

  /** Undefined until the client has proven who it is. */
  get minerId(): MinerId | undefined {
    return this.hello?.minerId;
  }

  get unsentBytes(): number {
    return this.#socket.bufferedAmount;
  }

  send(message: GatewayMessage): void {
    this.sendEncoded(encodeMessage(message));
  }

  /** Also for frames. `onSent` is called when the bytes have left this process, or never will. */
  sendEncoded(bytes: Uint8Array, onSent?: () => void): void {
    if (this.#socket.readyState === this.#socket.OPEN) this.#socket.send(bytes, onSent && (() => onSent()));
    if (this.#socket.bufferedAmount > this.#limits.unreadBytes) this.#socket.terminate();
  }

  /** Answers what the client did by a refusal; closes when trust is gone, or with the last of too many refusals. */
  refuse(failure: Failure, closeCode?: number): void {
    const code = closeCode ?? (this.#refusals.admit() ? undefined : closeCodes.malformed);
    this.send({ type: "refused", failure, closing: code !== undefined });
    if (code !== undefined) this.#socket.close(code, failure.code);
  }

  /** Stops reading from this client while frames to `receiver` cannot leave. */
  hold(receiver: MinerId): void {
    this.#heldFor.add(receiver);
    this.#socket.pause();
  }

  release(receiver: MinerId): void {
    if (!this.#heldFor.delete(receiver) || this.#heldFor.size > 0) return;
    this.#heard();
    this.#socket.resume();
  }

  /** Asks for a sign of life, or ends a session that has given none. */
  checkAlive(): void {
    const nowMs = this.#clock();
    const silent = this.#heldFor.size === 0 && nowMs - this.heardAtMs > this.#limits.silenceMs;
    const nameless = this.hello === null && nowMs - this.#openedAtMs > this.#limits.helloMs;
    if (silent || nameless) this.#socket.terminate();
    else if (this.#socket.readyState === this.#socket.OPEN) this.#socket.ping();
  }

  close(code: number, reason: string): void {
    this.#socket.close(code, reason);
  }

  terminate(): void {
    this.#socket.terminate();
  }

  #heard(): void {
    this.heardAtMs = this.#clock();
  }

  #receive(data: Buffer, isBinary: boolean): void {
    this.#heard();
    if (this.#closed || this.#socket.readyState !== this.#socket.OPEN) return;
    try {
      if (!isBinary) throw new FailureError("malformed-message", "Text where binary messages are spoken.");
      if (this.hello === null) this.#greet(decodeClientMessage(data));
      else if (isFrame(data)) this.#handlers.frame(this, data);
      else this.#dispatch(decodeClientMessage(data));
    } catch (error) {
      const failure = failureOf(error);
      if (failure === undefined) this.#handlers.bug(error);
      // Who cannot even introduce itself is not listened to any longer.
      const fatal = this.hello === null || failure === undefined;
      this.refuse(failure ?? internalFailure, fatal ? closeCodeOf(failure ?? internalFailure) : undefined);
    }
  }

  #dispatch(message: ClientMessage): void {
    if (!this.#messages.admit())
      throw new FailureError("unexpected-message", "More messages than a miner has to send.", { retry: true });
    if (message.type === "hello") throw new FailureError("replayed-message", "This session has said hello already.");
    this.#handlers.message(this, message);
  }

  #greet(message: ClientMessage): void {
    if (message.type !== "hello") throw new FailureError("unexpected-message", `"${message.type}" before "hello".`);
    if (message.protocol !== protocolVersion)
      throw new FailureError(
        "unsupported-version",
        `The network speaks protocol ${protocolVersion}, the client ${message.protocol}.`,
        { action: message.protocol < protocolVersion ? "Update Train at Home." : "Ask the network's owner to update." },
      );
    const proof = sessionProof(this.nonce, this.#networkId, message.role);
    if (!verifySignature(message.minerId, proof, message.signature))
      throw new FailureError("bad-signature", "The signature is not that of this key over this session's nonce.");
    this.hello = message;
    this.#handlers.opened(this);
  }

  #end(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#handlers.closed(this);
  }
}

const internalFailure: Failure = {
  code: "unexpected-message",
  message: "The network met a bug while handling this message.",
  action: "",
  retry: false,
};

function closeCodeOf(failure: Failure): number {
  switch (failure.code) {
    case "bad-signature":
    case "not-authorised":
      return closeCodes.notAuthorised;
    case "message-too-large":
      return closeCodes.tooLarge;
    default:
      return closeCodes.malformed;
  }
}
