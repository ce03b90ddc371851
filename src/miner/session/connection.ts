/**
 * One WebSocket to the gateway, from opening to closing: challenge, hello, welcome, then messages both ways, each signed by who says
 * it. When it closes it is used up; `session.ts` opens the next one.
 */
import type { Agent } from "node:https";
import type { Socket } from "node:net";
import { WebSocket } from "ws";
import type { AdmissionNeed, AdmissionProof } from "../../protocol/admission.ts";
import type { ClientMessage } from "../../protocol/client-messages.ts";
import { ControlChannel, messageBody, sessionDigest, signedHeaderBytes } from "../../protocol/control-channel.ts";
import { type Failure, FailureError, failureOf } from "../../protocol/failure.ts";
import { isFrame, maxChunkBytes } from "../../protocol/frames.ts";
import type { GatewayMessage } from "../../protocol/gateway-messages.ts";
import { type Identity, sessionProof } from "../../protocol/identity.ts";
import type { MinerId } from "../../protocol/ids.ts";
import {
  decodeGatewayMessage,
  encodeMessage,
  maxServerMessageBytes,
  protocolVersion,
} from "../../protocol/messages.ts";
import { AcknowledgedSocket } from "../../transport/acknowledged-socket.ts";
import { FrameLink } from "../../transport/frame-link.ts";
import { isLoopback } from "../../transport/loopback.ts";
import { Reassembly } from "../../transport/reassembly.ts";
import { LineWindow } from "../../transport/traffic/line-window.ts";
import type { Traffic } from "../../transport/traffic/traffic.ts";
import type { Clock } from "./clock.ts";
import { SilenceWatch, silenceMs } from "./silence-watch.ts";
import { software } from "./software.ts";
import { notOpened, unreachable } from "./unreachable.ts";

const markBytes = 4;

export interface Credentials {
  readonly identity: Identity;
  readonly name: string;
  /** An observer is told about the run and never given a place. */
  readonly role: "miner" | "observer";
  /** What the network asks of a miner that it does not know; observers are asked for nothing. Rejects with `FailureError`. */
  readonly prove?: (need: AdmissionNeed, networkId: string) => Promise<AdmissionProof>;
}

export interface GatewayAddress {
  /** ws:// or wss:// address of the gateway. */
  readonly url: string;
  /** Connects where the gateway is not to be known by an authority's certificate. */
  readonly agent?: Agent | undefined;
  /** The key of the one network that is meant; none: whatever network answers. */
  readonly networkId?: MinerId | null;
}

/** `blobToken` opens the blob store while the connection lives. */
export type Welcome = Extract<GatewayMessage, { type: "welcome" }>;

export interface ConnectionHandlers {
  /** The gateway knows us. */
  opened(welcome: Welcome): void;
  message(message: GatewayMessage): void;
  /** Frames of this peer were not usable and were dropped. */
  frameDropped(from: MinerId, failure: Failure): void;
  /** Called once, also when opening failed. */
  closed(failure: Failure): void;
}

type ConnectionState = "connecting" | "greeting" | "open" | "closed";

export class Connection {
  readonly link: FrameLink;
  readonly #socket: WebSocket;
  readonly #line: AcknowledgedSocket;
  readonly #expectedNetworkId: MinerId | null;
  readonly #credentials: Credentials;
  readonly #handlers: ConnectionHandlers;
  readonly #clock: Clock;
  readonly #traffic: Traffic;
  readonly #silence: SilenceWatch;
  #state: ConnectionState = "connecting";
  #networkId = "";
  /** Null until the challenge is answered. */
  #channel: ControlChannel | null = null;
  /** On this very computer. */
  #isGatewayHere = false;
  /** Why the gateway said that it closes. */
  #refusal: Failure | null = null;

  constructor(
    { url, agent, networkId = null }: GatewayAddress,
    credentials: Credentials,
    handlers: ConnectionHandlers,
    clock: Clock,
    traffic: Traffic,
  ) {
    this.#expectedNetworkId = networkId;
    this.#credentials = credentials;
    this.#handlers = handlers;
    this.#clock = clock;
    this.#traffic = traffic;
    this.#socket = new WebSocket(new URL("/session", url), {
      perMessageDeflate: false,
      maxPayload: Math.max(maxServerMessageBytes + signedHeaderBytes, 2 * maxChunkBytes),
      handshakeTimeout: silenceMs,
      ...(agent !== undefined && { agent }),
    });
    const line = new AcknowledgedSocket(this.#socket, new LineWindow(clock), clock);
    this.#line = line;
    this.link = new FrameLink(line, {
      pacing: {
        get chunkBytes() {
          return Math.min(traffic.chunkBytes, line.chunkBytes);
        },
        get maxBufferedBytes() {
          return line.maxBufferedBytes;
        },
        upload: traffic.upload,
        wrote: (bytes, waited, kind) => {
          if (waited) traffic.framesWait();
          traffic.wroteFrame(kind, bytes);
          this.#wrote(bytes, waited);
        },
      },
      reassembly: new Reassembly({ onDropped: (from, error) => handlers.frameDropped(from, error.failure) }),
    });
    this.#socket.on("ping", () => this.#sendMark(traffic.link.idle()));
    this.#socket.on("pong", (mark: Buffer) => {
      if (mark.length === markBytes) traffic.markReturned(mark.readUInt32LE());
      else line.returned(mark);
    });
    this.#socket.once("upgrade", ({ socket }) => {
      traffic.watch(socket);
      this.#isGatewayHere = isLoopback(socket.remoteAddress);
      this.#socket.once("open", () => this.#pace(socket));
    });
    this.#socket.on("message", (data: Buffer) => this.#received(data));
    this.#socket.on("unexpected-response", (_request, { statusCode }) => this.#close(notOpened(statusCode)));
    this.#socket.on("error", (error) => this.#close(unreachable(error)));
    this.#socket.on("close", () => this.#close(this.#refusal ?? closed("The connection was closed.")));
    this.#silence = new SilenceWatch(clock, {
      ask: () => this.#socket.readyState === WebSocket.OPEN && this.#socket.ping(),
      dead: () => this.#close({ ...closed(`Nothing was heard for ${silenceMs / 1000} s.`), code: "timed-out" }),
    });
  }

  /** As the gateway named it; empty before it did. */
  get networkId(): string {
    return this.#networkId;
  }

  /** False when the connection is not open, or no longer. */
  send(message: ClientMessage): boolean {
    return this.#state === "open" && this.#say(message);
  }

  /** Ends the connection; what was sent before still leaves. */
  close(): void {
    this.#socket.close();
    this.#close({ code: "cancelled", message: "The session was closed.", action: "", retry: false });
  }

  /** Not read from while the download is in debt: then the sender finds the receive window full, and waits. */
  #pace(socket: Socket): void {
    const { download } = this.#traffic;
    socket.on("data", ({ length }: Buffer) => {
      this.#heard();
      this.#traffic.read(length);
      if (download.isOpen || this.#socket.isPaused) return;
      this.#socket.pause();
      download.whenOpen("urgent", () => this.#socket.resume());
    });
  }

  #say(message: ClientMessage): boolean {
    // One that is signed and then not sent would be missed.
    if (this.#channel === null || this.#socket.readyState !== WebSocket.OPEN) return false;
    this.#write(this.#channel.seal(messageBody(message), this.#clock.nowMs()));
    return true;
  }

  /** Control messages are small, and are not kept waiting; others wait the longer for them. */
  #write(bytes: Uint8Array): void {
    const waited = this.#socket.bufferedAmount > 0;
    this.#socket.send(bytes);
    this.#wrote(bytes.length, waited);
  }

  #wrote(bytes: number, waited: boolean): void {
    this.#traffic.wrote(bytes);
    this.#sendMark(this.#traffic.link.sent(bytes, waited));
  }

  /** A ping behind the data: it comes back when all before it has arrived. */
  #sendMark(mark: number | null): void {
    if (mark === null || this.#socket.readyState !== WebSocket.OPEN) return;
    const payload = Buffer.alloc(markBytes);
    payload.writeUInt32LE(mark);
    this.#socket.ping(payload);
  }

  #received(data: Buffer): void {
    if (this.#state === "closed") return;
    try {
      if (this.#state === "open" && isFrame(data)) this.link.receive(data);
      else if (this.#channel === null) this.#greet(data);
      else this.#handle(decodeGatewayMessage(this.#channel.open(data, this.#clock.nowMs())));
    } catch (error) {
      const failure = failureOf(error);
      if (failure === undefined) throw error;
      this.#close(failure);
    }
  }

  /** What comes before the hello is not signed. */
  #greet(data: Uint8Array): void {
    const message = decodeGatewayMessage(data);
    if (message.type === "refused" && message.closing) this.#refusal = message.failure;
    else if (message.type === "challenge") this.#introduce(data, message);
    else throw unexpected(message, "challenge");
  }

  #introduce(challenge: Uint8Array, { networkId, nonce }: Extract<GatewayMessage, { type: "challenge" }>): void {
    if (this.#expectedNetworkId !== null && this.#expectedNetworkId !== networkId) throw otherNetwork();
    const { identity, name, role } = this.#credentials;
    const { minerId } = identity;
    const signature = Uint8Array.from(identity.sign(sessionProof(nonce, networkId, role)));
    const hello = encodeMessage({ type: "hello", protocol: protocolVersion, software, role, minerId, name, signature });
    const session = sessionDigest(challenge, hello);
    this.#networkId = networkId;
    this.#channel = new ControlChannel({ speaker: "client", identity, peer: networkId, session });
    this.#state = "greeting";
    this.#write(hello);
  }

  #handle(message: GatewayMessage): void {
    if (message.type === "refused" && message.closing) this.#refusal = message.failure;
    else if (this.#state === "greeting" && message.type === "admission") void this.#prove(message.need);
    else if (this.#state === "greeting") this.#enter(message);
    else if (message.type === "undeliverable") this.link.peerUndeliverable(message.peer);
    else this.#handlers.message(message);
  }

  /** The gateway may lose patience meanwhile; the next connection then brings what has been found by then. */
  async #prove(need: AdmissionNeed): Promise<void> {
    try {
      const proof = await this.#credentials.prove?.(need, this.#networkId);
      if (proof === undefined)
        throw new FailureError("unexpected-message", "The gateway asks an observer for a proof.");
      if (this.#state === "greeting") this.#say({ type: "admission-proof", proof });
    } catch (error) {
      const failure = failureOf(error);
      if (failure === undefined) throw error;
      this.#close(failure);
    }
  }

  #enter(message: GatewayMessage): void {
    if (message.type !== "welcome") throw unexpected(message, "welcome");
    this.#state = "open";
    const { link } = this.#traffic;
    const sendMark = () => this.#sendMark(link.sent(0, this.#socket.bufferedAmount > 0));
    this.#traffic.sessionOpened(this.#isGatewayHere ? null : sendMark);
    this.#handlers.opened(message);
  }

  #heard(): void {
    if (this.#state !== "closed") this.#silence.heard();
  }

  #close(failure: Failure): void {
    if (this.#state === "closed") return;
    if (this.#state === "open") this.#traffic.sessionClosed();
    this.#state = "closed";
    this.#silence.stop();
    this.link.close();
    this.#line.close();
    // A socket that is closing in good order may flush what it holds; any other is of no more use.
    if (failure.code !== "cancelled") this.#socket.terminate();
    this.#handlers.closed(failure);
  }
}

function closed(message: string): Failure {
  return { code: "unreachable", message, action: "", retry: true };
}

function otherNetwork(): FailureError {
  return new FailureError("bad-signature", "Another network answers than this network's address says.", {
    action: "Ask the network's owner for its address of today; somebody may be in between.",
  });
}

function unexpected(message: GatewayMessage, wanted: string): FailureError {
  return new FailureError("unexpected-message", `The gateway sent "${message.type}" instead of "${wanted}".`);
}
