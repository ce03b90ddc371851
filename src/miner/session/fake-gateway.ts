/** For tests: the gateway's end of one session, which says what it is told to, signed as a network signs it. */
import { once } from "node:events";
import type { WebSocket } from "ws";
import type { ClientMessage } from "../../protocol/client-messages.ts";
import { ControlChannel, messageBody, sessionDigest } from "../../protocol/control-channel.ts";
import type { GatewayMessage } from "../../protocol/gateway-messages.ts";
import type { Identity } from "../../protocol/identity.ts";
import { decodeClientMessage, encodeMessage, protocolVersion } from "../../protocol/messages.ts";

export type Hello = Extract<ClientMessage, { type: "hello" }>;
/** Always the same, which no real gateway's is. */
export const fakeNonce = Uint8Array.from({ length: 32 }, (_, index) => index);

export class FakeGatewaySession {
  readonly hello: Hello;
  readonly #socket: WebSocket;
  readonly #channel: ControlChannel;

  private constructor(socket: WebSocket, hello: Hello, channel: ControlChannel) {
    this.#socket = socket;
    this.hello = hello;
    this.#channel = channel;
  }

  /** Challenges the client, and resolves with its hello. */
  static async greet(socket: WebSocket, identity: Identity): Promise<FakeGatewaySession> {
    const { minerId: networkId } = identity;
    const challenge = encodeMessage({ type: "challenge", protocol: protocolVersion, networkId, nonce: fakeNonce });
    socket.send(challenge);
    const [data] = (await once(socket, "message")) as [Buffer];
    const hello = decodeClientMessage(data);
    if (hello.type !== "hello") throw new Error(`got ${hello.type} instead of hello`);
    const session = sessionDigest(challenge, data);
    const channel = new ControlChannel({ speaker: "gateway", identity, peer: hello.minerId, session });
    return new FakeGatewaySession(socket, hello, channel);
  }

  /** As `greet`, and lets the client in. */
  static async open(socket: WebSocket, identity: Identity): Promise<FakeGatewaySession> {
    const session = await FakeGatewaySession.greet(socket, identity);
    session.say({ type: "welcome", blobToken: "token", bootstrap: [] });
    return session;
  }

  say(message: GatewayMessage): void {
    this.#socket.send(this.#channel.seal(messageBody(message), 0));
  }

  /** What came is a message that the client has signed. */
  read(data: Buffer): ClientMessage {
    return decodeClientMessage(this.#channel.open(data, 0));
  }
}
