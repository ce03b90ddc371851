/** A client of the gateway that says what it likes, when it likes, from the attackers' address. */
import { once } from "node:events";
import type { Socket } from "node:net";
import { WebSocket } from "ws";
import type { ClientMessage } from "../../../src/protocol/client-messages.ts";
import { bodyOf, ControlChannel, sessionDigest, signedHeaderBytes } from "../../../src/protocol/control-channel.ts";
import { isFrame } from "../../../src/protocol/frames.ts";
import type { GatewayMessage } from "../../../src/protocol/gateway-messages.ts";
import { createIdentity, type Identity, sessionProof } from "../../../src/protocol/identity.ts";
import { controlMarker, decodeGatewayMessage, encodeMessage, protocolVersion } from "../../../src/protocol/messages.ts";
import type { Target } from "./attacker.ts";

/** And from where it is attacked. */
type Gateway = Pick<Target, "port" | "localAddress">;

type Challenge = Heard<"challenge">;

const signatureBytes = 64;

export class HostileClient {
  /** Under the WebSocket: for what no WebSocket would send. */
  readonly line: Socket;
  readonly #socket: WebSocket;
  readonly #challenge: Challenge;
  /** Once it has said hello properly: what it says from then on is signed. */
  #channel: ControlChannel | null = null;

  private constructor(socket: WebSocket, line: Socket, challenge: Challenge) {
    this.#socket = socket;
    this.line = line;
    this.#challenge = challenge;
  }

  /** Has been challenged. Rejects when the gateway does not let it connect. */
  static async connect({ port, localAddress }: Gateway): Promise<HostileClient> {
    const options = { perMessageDeflate: false, localAddress, handshakeTimeout: 5000 };
    const socket = new WebSocket(`ws://127.0.0.1:${port}/session`, options);
    socket.on("error", () => undefined); // `close` follows
    const [[{ socket: line }], challenge] = await Promise.all([once(socket, "upgrade"), next(socket, "challenge")]);
    return new HostileClient(socket, line, challenge);
  }

  /** Has a session. Rejects when it gets none. */
  static async enter(gateway: Gateway, identity: Identity = createIdentity()): Promise<EnteredClient> {
    const client = await HostileClient.connect(gateway);
    const hello = encodeMessage(client.hello(identity));
    client.sendBytes(hello);
    const { message: challenge, bytes } = client.#challenge;
    const session = sessionDigest(bytes, hello);
    client.#channel = new ControlChannel({ speaker: "client", identity, peer: challenge.networkId, session });
    const { message } = await next(client.#socket, "welcome");
    return { client, blobToken: message.blobToken };
  }

  get isOpen(): boolean {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  /** Resolves when it is no longer open. */
  get closed(): Promise<unknown> {
    return this.#socket.readyState === WebSocket.CLOSED ? Promise.resolve() : once(this.#socket, "close");
  }

  hello(identity: Identity): ClientMessage {
    const { nonce, networkId } = this.#challenge.message;
    const signature = Uint8Array.from(identity.sign(sessionProof(nonce, networkId, "miner")));
    const { minerId } = identity;
    return { type: "hello", protocol: protocolVersion, software: "x", role: "miner", minerId, name: "x", signature };
  }

  /** As somebody else. */
  forgedHello(): ClientMessage {
    return { ...this.hello(createIdentity()), signature: new Uint8Array(signatureBytes) } as ClientMessage;
  }

  send(message: ClientMessage): void {
    this.say(encodeMessage(message));
  }

  /** Signed, once it has a session, whatever it is. */
  say(bytes: Uint8Array): void {
    if (this.isOpen) this.sendBytes(this.#channel?.seal(bodyOf(bytes), performance.now()) ?? bytes);
  }

  sendBytes(bytes: Uint8Array): void {
    if (this.isOpen) this.#socket.send(bytes);
  }

  /** Resolves when the line has taken it, or is gone. */
  write(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve) => this.line.write(bytes, () => resolve()));
  }

  end(): void {
    this.#socket.terminate();
  }
}

export interface EnteredClient {
  readonly client: HostileClient;
  readonly blobToken: string;
}

/**
 * One WebSocket frame as a client sends it, whole or the beginning of one, whose mask changes nothing: what is sent many times is made
 * once.
 */
export function webSocketFrame(opcode: number, payload: Uint8Array, announcedBytes = payload.length): Buffer {
  const mask = Buffer.alloc(4);
  if (announcedBytes <= 125) return Buffer.concat([Buffer.of(0x80 | opcode, 0x80 | announcedBytes), mask, payload]);
  const head = Buffer.alloc(10);
  head[0] = 0x80 | opcode;
  head[1] = 0x80 | 127;
  head.writeBigUInt64BE(BigInt(announcedBytes), 2);
  return Buffer.concat([head, mask, payload]);
}

export const opcodes = { binary: 2, ping: 9 } as const;

interface Heard<T extends GatewayMessage["type"]> {
  readonly message: Extract<GatewayMessage, { type: T }>;
  readonly bytes: Uint8Array;
}

/** The next message of this type, whoever signed it. Rejects when the connection closes first. */
function next<T extends GatewayMessage["type"]>(socket: WebSocket, type: T): Promise<Heard<T>> {
  const { promise, resolve, reject } = Promise.withResolvers<Heard<T>>();
  const take = (bytes: Buffer) => {
    if (isFrame(bytes)) return;
    const message = decodeGatewayMessage(bytes[0] === controlMarker ? bytes : bytes.subarray(signedHeaderBytes));
    if (message.type === type) resolve({ message: message as Heard<T>["message"], bytes });
  };
  socket.on("message", take);
  socket.once("close", () => reject(new Error(`closed while waiting for ${type}`)));
  return promise.finally(() => socket.off("message", take));
}
