/**
 * One client's WebSocket, from challenge to closing. It proves who the client is and turns bytes into checked messages, each of
 * them proven too, and frames; what they mean is the gateway's business.
 */
import { randomBytes } from "node:crypto";
import type { WebSocket } from "ws";
import type { AdmissionNeed } from "../../protocol/admission.ts";
import type { ClientMessage } from "../../protocol/client-messages.ts";
import { ControlChannel, type MessageBody, messageBody, sessionDigest } from "../../protocol/control-channel.ts";
import { type Failure, FailureError, failureOf } from "../../protocol/failure.ts";
import { isFrame } from "../../protocol/frames.ts";
import type { GatewayMessage } from "../../protocol/gateway-messages.ts";
import { type Identity, sessionProof, verifySignature } from "../../protocol/identity.ts";
import type { MinerId } from "../../protocol/ids.ts";
import { closeCodes } from "../../protocol/local-api.ts";
import { decodeClientMessage, encodeMessage, protocolVersion } from "../../protocol/messages.ts";
import { answerTo } from "../../transport/acknowledgement.ts";
import { RateLimit } from "../rate-limit.ts";
import type { Household } from "./address-limits.ts";
import { closeCodeOf, internalFailure } from "./close-code.ts";
import { Reading, type SessionConnection } from "./reading.ts";
import type { Hello, SessionHandlers } from "./session-handlers.ts";
import type { SessionLimits } from "./session-limits.ts";

const forgivenPerSecond = 0.1;
/** To hear a client out that is not let in takes more than to turn a connection away: it costs its address so many further ones. */
const failedHelloConnections = 9;
/** What is written to disk about a miner, or takes time to check; people change it seldom. */
const claimsPerSecond = 1 / 60;
const claimsAtOnce = 5;
/** For a client to agree that the session closes. */
const closingMs = 2000;

export class Session {
  readonly #nonce = Uint8Array.from(randomBytes(32));
  readonly blobToken: string = randomBytes(32).toString("base64url");
  /** When the client was last heard of; the gateway's clock. */
  heardAtMs: number;
  /** The client's first message, once it is proven and the client let in. */
  hello: Hello | null = null;
  /** Proven, and asked for more. */
  #applicant: { readonly hello: Hello; readonly need: AdmissionNeed } | null = null;
  readonly #challenge: Uint8Array;
  /** Null until the client is known. */
  #channel: ControlChannel | null = null;
  /** Of its address. */
  readonly household: Household;
  readonly #socket: WebSocket;
  /** The network's. */
  readonly #identity: Identity;
  readonly #handlers: SessionHandlers;
  readonly #limits: SessionLimits;
  readonly #messages: RateLimit;
  readonly #claims: { readonly payout: RateLimit; readonly hotkey: RateLimit };
  readonly #reading: Reading;
  readonly #refusals: RateLimit;
  readonly #clock: () => number;
  readonly #openedAtMs: number;
  /** It has had a place in an epoch: what it sends is worth reading. */
  #isMember = false;
  /** When the closing began that the client has to agree to. */
  #closingAtMs: number | null = null;
  #closed = false;

  constructor(
    connection: SessionConnection,
    options: {
      readonly identity: Identity;
      readonly handlers: SessionHandlers;
      readonly limits: SessionLimits;
      readonly clock: () => number;
    },
  ) {
    const { identity, handlers, limits, clock } = options;
    const { socket, household } = connection;
    this.household = household;
    this.#socket = socket;
    this.#identity = identity;
    this.#handlers = handlers;
    this.#limits = limits;
    this.#clock = clock;
    this.#openedAtMs = this.heardAtMs = clock();
    this.#messages = new RateLimit(limits.messagesPerSecond, limits.messagesPerSecond, clock);
    this.#claims = {
      payout: new RateLimit(claimsPerSecond, claimsAtOnce, clock),
      hotkey: new RateLimit(claimsPerSecond, claimsAtOnce, clock),
    };
    this.#refusals = new RateLimit(forgivenPerSecond, limits.refusals, clock);
    this.#reading = new Reading({
      ...connection,
      framesPerSecond: limits.framesPerSecond,
      clock,
      isGuest: () => this.isGuest,
      tooLong: () => this.#refuseLength(),
      resumed: () => this.#heard(),
    });
    socket.on("message", (data: Buffer, isBinary: boolean) => this.#receive(data, isBinary));
    socket.on("ping", (payload: Buffer) => this.#answer(payload));
    socket.on("pong", () => this.#heard());
    socket.on("error", (error) => this.#failed(error));
    socket.on("close", () => this.#end());
    const { minerId: networkId } = identity;
    this.#challenge = encodeMessage({ type: "challenge", protocol: protocolVersion, networkId, nonce: this.#nonce });
    this.#write(this.#challenge);
  }

  /** Undefined until the client has proven who it is. */
  get minerId(): MinerId | undefined {
    return this.hello?.minerId;
  }

  get unsentBytes(): number {
    return this.#socket.bufferedAmount;
  }

  send(message: GatewayMessage): void {
    this.sendBody(messageBody(message));
  }

  /** As `send`, of what others are sent too. */
  sendBody(body: MessageBody): void {
    // One that is signed and then not sent would be missed.
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    this.#write(this.#channel === null ? body.bytes : this.#channel.seal(body, this.#clock()));
  }

  /** `onSent` is called when the bytes have left this process, or never will. */
  sendFrame(bytes: Uint8Array, onSent: () => void): void {
    this.#write(bytes, onSent);
  }

  /** Answers what the client did by a refusal; closes when trust is gone, or with the last of too many refusals. */
  refuse(failure: Failure, closeCode?: number): void {
    const code = closeCode ?? (this.#refusals.admit() ? undefined : closeCodes.malformed);
    this.#handlers.refused(failure.code);
    if (code !== undefined) this.dismiss(failure, code);
    else this.send({ type: "refused", failure, closing: false });
  }

  /** Closes, and says why. */
  dismiss(failure: Failure, closeCode: number): void {
    this.send({ type: "refused", failure, closing: true });
    this.close(closeCode, failure.code);
  }

  /** Whether it never had a place in an epoch. */
  get isGuest(): boolean {
    this.#isMember ||= this.hello !== null && this.#handlers.isMember(this);
    return !this.#isMember;
  }

  /** Stops reading from this client while frames to `receiver` cannot leave. */
  hold(receiver: MinerId): void {
    this.#reading.hold(receiver);
  }

  release(receiver: MinerId): void {
    this.#reading.release(receiver);
  }

  /** Asks for a sign of life, or ends a session that has given none. */
  checkAlive(): void {
    const nowMs = this.#clock();
    const silent = !this.#reading.isPaused && nowMs - this.heardAtMs > this.#limits.silenceMs;
    const nameless = this.hello === null && nowMs - this.#openedAtMs > this.#limits.helloMs;
    const unread = this.unsentBytes > this.#limits.unreadBytes;
    const reluctant = this.#closingAtMs !== null && nowMs - this.#closingAtMs > closingMs;
    if (silent || nameless || unread || reluctant) this.giveUp();
    else if (this.#socket.readyState === this.#socket.OPEN) this.#socket.ping();
  }

  close(code: number, reason: string): void {
    this.#closingAtMs ??= this.#clock();
    this.#socket.close(code, reason);
  }

  terminate(): void {
    this.#socket.terminate();
  }

  /** It does not read, speak or introduce itself in time. */
  giveUp(): void {
    if (this.#socket.readyState === this.#socket.OPEN) this.#handlers.refused("timed-out");
    this.#socket.terminate();
  }

  #refuseLength(): void {
    if (this.#closingAtMs !== null) return;
    const { failure } = new FailureError("message-too-large", "A message longer than any that this client may send.");
    this.refuse(failure, closeCodes.tooLarge);
  }

  #answer(ping: Buffer): void {
    if (this.#socket.readyState === this.#socket.OPEN) this.#socket.pong(answerTo(ping, this.#clock()));
    this.#mustBeRead();
  }

  #heard(): void {
    this.heardAtMs = this.#clock();
  }

  #receive(data: Buffer, isBinary: boolean): void {
    this.#heard();
    if (!this.#handlers.isAwake() || this.#closed || this.#socket.readyState !== this.#socket.OPEN) return;
    try {
      if (!isBinary) throw new FailureError("malformed-message", "Text where binary messages are spoken.");
      const channel = this.#channel;
      if (channel === null) this.#greet(data);
      else if (this.hello !== null && isFrame(data)) {
        this.#reading.countFrame();
        this.#handlers.frame(this, data);
      } else this.#dispatch(decodeClientMessage(channel.open(data, this.#clock())));
    } catch (error) {
      const failure = failureOf(error);
      if (failure === undefined) this.#handlers.bug(error);
      // Who cannot even introduce itself is not listened to any longer, nor whoever speaks in its place.
      const fatal = this.hello === null || failure === undefined || this.#channel?.isBroken === true;
      if (this.hello === null) this.household.made.fine(failedHelloConnections);
      this.refuse(failure ?? internalFailure, fatal ? closeCodeOf(failure ?? internalFailure) : undefined);
    }
  }

  #greet(data: Uint8Array): void {
    const hello = decodeClientMessage(data);
    if (hello.type !== "hello")
      throw new FailureError("unexpected-message", `"${hello.type}" before this client was known.`);
    const { minerId, role, signature } = hello;
    if (!verifySignature(minerId, sessionProof(this.#nonce, this.#identity.minerId, role), signature))
      throw new FailureError("bad-signature", "The signature is not that of this key over this session's nonce.");
    const session = sessionDigest(this.#challenge, data);
    this.#channel = new ControlChannel({ speaker: "gateway", identity: this.#identity, peer: minerId, session });
    const need = this.#handlers.needOf(hello);
    if (need === null) this.#open(hello);
    else {
      this.#applicant = { hello, need };
      this.send({ type: "admission", need });
    }
  }

  #dispatch(message: ClientMessage): void {
    const isClaim = message.type === "payout" || message.type === "hotkey";
    if (this.hello === null) this.#admit(message);
    else if (!this.#messages.admit() || (isClaim && !this.#claims[message.type].admit()))
      throw new FailureError("unexpected-message", "More messages than a miner has to send.", { retry: true });
    else if (message.type === "hello" || message.type === "admission-proof")
      throw new FailureError("replayed-message", `This session has said "${message.type}" already, or need not.`);
    else this.#handlers.message(this, message);
  }

  #admit(message: ClientMessage): void {
    const applicant = this.#applicant;
    if (applicant === null || message.type !== "admission-proof")
      throw new FailureError("unexpected-message", `"${message.type}" before this client was let in.`);
    this.#handlers.check(applicant.hello, applicant.need, message.proof);
    this.#open(applicant.hello);
  }

  #open(hello: Hello): void {
    this.hello = hello;
    this.#handlers.opened(this);
  }

  #write(bytes: Uint8Array, onSent?: () => void): void {
    if (this.#socket.readyState === this.#socket.OPEN) this.#socket.send(bytes, onSent && (() => onSent()));
    this.#mustBeRead();
  }

  #mustBeRead(): void {
    if (this.unsentBytes > this.#limits.unreadBytes) this.giveUp();
  }

  /** Where the client sent what is no WebSocket message, or too large a one; `close` follows. */
  #failed(error: Error): void {
    const code = "code" in error ? String(error.code) : "";
    if (code.startsWith("WS_ERR_"))
      this.#handlers.refused(code === "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH" ? "message-too-large" : "malformed-message");
    this.#socket.terminate();
  }

  #end(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#handlers.closed(this);
  }
}
