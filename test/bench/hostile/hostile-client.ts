/** A client of the gateway that says what it likes, when it likes, from the attackers' address. */
import { once } from "node:events";
import type { Socket } from "node:net";
import { WebSocket } from "ws";
import { isFrame } from "../../../src/protocol/frames.ts";
import { createIdentity, type Identity, sessionProof } from "../../../src/protocol/identity.ts";
import {
  type ClientMessage,
  decodeGatewayMessage,
  encodeMessage,
  type GatewayMessage,
  protocolVersion,
} from "../../../src/protocol/messages.ts";
import type { Target } from "./attacker.ts";

/** And from where it is attacked. */
type Gateway = Pick<Target, "port" | "localAddress">;

type Challenge = Extract<GatewayMessage, { type: "challenge" }>;

const signatureBytes = 64;

export class HostileClient {
  /** Under the WebSocket: for what no WebSocket would send. */
  readonly line: Socket;
  readonly #socket: WebSocket;
  readonly #challenge: Challenge;

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
    client.send(client.hello(identity));
    const { blobToken } = await next(client.#socket, "welcome");
    return { client, blobToken };
  }

  get isOpen(): boolean {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  /** Resolves when it is no longer open. */
  get closed(): Promise<unknown> {
    return this.#socket.readyState === WebSocket.CLOSED ? Promise.resolve() : once(this.#socket, "close");
  }

  hello(identity: Identity): ClientMessage {
    const { nonce, networkId } = this.#challenge;
    const signature = Uint8Array.from(identity.sign(sessionProof(nonce, networkId, "miner")));
    const { minerId } = identity;
    return { type: "hello", protocol: protocolVersion, software: "x", role: "miner", minerId, name: "x", signature };
  }

  /** As somebody else. */
  forgedHello(): ClientMessage {
    return { ...this.hello(createIdentity()), signature: new Uint8Array(signatureBytes) } as ClientMessage;
  }

  send(message: ClientMessage): void {
    this.sendBytes(encodeMessage(message));
  }

  sendBytes(bytes: Uint8Array): void {
    if (this.isOpen) this.#socket.send(bytes);
  }

  /** Resolves when the line has taken it. */
  async write(bytes: Uint8Array): Promise<void> {
    if (this.isOpen && !this.line.write(bytes)) await Promise.race([once(this.line, "drain"), this.closed]);
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

type MessageOf<T extends GatewayMessage["type"]> = Extract<GatewayMessage, { type: T }>;

/** The next message of this type. Rejects when the connection closes first. */
function next<T extends GatewayMessage["type"]>(socket: WebSocket, type: T): Promise<MessageOf<T>> {
  const { promise, resolve, reject } = Promise.withResolvers<MessageOf<T>>();
  const take = (data: Buffer) => {
    const message = isFrame(data) ? null : decodeGatewayMessage(data);
    if (message?.type === type) resolve(message as MessageOf<T>);
  };
  socket.on("message", take);
  socket.once("close", () => reject(new Error(`closed while waiting for ${type}`)));
  return promise.finally(() => socket.off("message", take));
}
