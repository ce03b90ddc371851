import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type WebSocket, WebSocketServer } from "ws";
import type { Failure } from "../../protocol/failure.ts";
import { createIdentity, sessionProof, verifySignature } from "../../protocol/identity.ts";
import {
  type ClientMessage,
  decodeClientMessage,
  encodeMessage,
  type GatewayMessage,
  protocolVersion,
} from "../../protocol/messages.ts";
import { Traffic } from "../../transport/traffic/traffic.ts";
import { backOffMs } from "./back-off.ts";
import { FakeClock } from "./fake-clock.ts";
import { Session } from "./session.ts";

const nonce = Uint8Array.from({ length: 32 }, (_, index) => index);

describe("a session", () => {
  const identity = createIdentity();
  let server: WebSocketServer;
  let clock: FakeClock;
  let session: Session;
  let happened: Queue<"opened" | GatewayMessage | Failure>;
  let gatewaySockets: Queue<WebSocket>;

  beforeEach(async () => {
    server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    await once(server, "listening");
    gatewaySockets = new Queue();
    server.on("connection", (socket) => gatewaySockets.push(socket));
    clock = new FakeClock();
    happened = new Queue();
    const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const credentials = { identity, name: "test", role: "miner" } as const;
    session = new Session(
      { url, credentials, clock, traffic: new Traffic(clock), log: () => {} },
      {
        opened: () => happened.push("opened"),
        message: (message) => happened.push(message),
        lost: (failure) => happened.push(failure),
      },
    );
    session.open();
    clock.advance(0);
  });
  afterEach(() => {
    session.close();
    server.close();
  });

  const say = (socket: WebSocket, message: GatewayMessage) => socket.send(encodeMessage(message));
  const hear = async (socket: WebSocket): Promise<ClientMessage> => {
    const [data] = await once(socket, "message");
    return decodeClientMessage(data);
  };
  async function welcome(): Promise<WebSocket> {
    const socket = await gatewaySockets.next();
    say(socket, { type: "challenge", protocol: protocolVersion, networkId: "net", nonce });
    const hello = await hear(socket);
    if (hello.type !== "hello") throw new Error(`got ${hello.type}`);
    expect(verifySignature(identity.minerId, sessionProof(nonce, "net", "miner"), hello.signature)).toBe(true);
    say(socket, { type: "welcome", blobToken: "token", bootstrap: [] });
    expect(await happened.next()).toBe("opened");
    return socket;
  }

  it("answers the challenge with a signature, and then passes messages both ways", async () => {
    const socket = await welcome();
    expect(session.blobToken).toBe("token");
    expect(session.send({ type: "leave", reason: "test" })).toBe(true);
    expect(await hear(socket)).toEqual({ type: "leave", reason: "test" });
    say(socket, { type: "idle", reason: "none" });
    expect(await happened.next()).toEqual({ type: "idle", reason: "none" });
  });

  it("connects again after a pause when the connection is lost", async () => {
    const socket = await welcome();
    socket.terminate();
    expect(await happened.next()).toMatchObject({ code: "unreachable" });
    expect(session.send({ type: "leave", reason: "lost" })).toBe(false);
    clock.advance(backOffMs(1, clock.random()));
    await welcome();
  });

  it("gives the gateway's reason when it refuses", async () => {
    const socket = await gatewaySockets.next();
    const failure: Failure = { code: "not-authorised", message: "Not on the list.", action: "Ask.", retry: false };
    say(socket, { type: "refused", failure, closing: true });
    socket.close();
    expect(await happened.next()).toEqual(failure);
  });

  it("does not talk to a gateway of another version, and says who should update", async () => {
    const socket = await gatewaySockets.next();
    say(socket, { type: "challenge", protocol: protocolVersion + 1, networkId: "net", nonce });
    expect(await happened.next()).toMatchObject({
      code: "unsupported-version",
      action: expect.stringContaining("Update Train at Home"),
    });
  });

  it("asks a gateway that it has not heard for a moment for a sign of life, so that a dead connection is reset", async () => {
    const socket = await welcome();
    const asked = once(socket, "ping");
    clock.advance(1500);
    await asked;
  });

  it("takes silence for death", async () => {
    const socket = await welcome();
    clock.advance(14_000);
    socket.ping();
    say(socket, { type: "idle", reason: "still here" });
    await happened.next();
    clock.advance(14_000);
    clock.advance(1000);
    expect(await happened.next()).toMatchObject({ code: "timed-out" });
  });

  it.each([
    ["bytes that mean nothing", Uint8Array.of(1, 2, 3)],
    ["a frame cut short", Buffer.from("TAH1")],
    ["nothing", new Uint8Array(0)],
    ["a message out of order", encodeMessage({ type: "challenge", protocol: 1, networkId: "net", nonce })],
  ])("survives %s, before the welcome and after it", async (_, bytes) => {
    const early = await gatewaySockets.next();
    early.send(encodeMessage({ type: "welcome", blobToken: "too early", bootstrap: [] }));
    expect(await happened.next()).toMatchObject({ code: "unexpected-message" });
    clock.advance(10_000); // the longest pause: this gateway will hardly be a better one soon
    const socket = await welcome();
    socket.send(bytes);
    socket.close();
    const next = await happened.next();
    // A message that merely makes no sense now is passed on, for the miner to ignore.
    expect(next).toMatchObject(
      typeof next === "object" && "type" in next ? { type: "challenge" } : { retry: expect.any(Boolean) },
    );
  });
});

describe("the back-off", () => {
  it("grows to ten seconds, with jitter of a quarter either way", () => {
    expect([0, 1, 2, 3, 4, 5, 100].map((attempt) => backOffMs(attempt, 0.5))).toEqual([
      0, 500, 1000, 2000, 5000, 10_000, 10_000,
    ]);
    expect(backOffMs(5, 0)).toBe(7500);
    expect(backOffMs(5, 0.999)).toBeLessThan(12_500);
  });
});

/** Hands out in order what was pushed, waiting for it where necessary. */
class Queue<T> {
  readonly #items: T[] = [];
  readonly #waiting: ((item: T) => void)[] = [];

  push(item: T): void {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(item);
    else this.#items.push(item);
  }

  next(): Promise<T> {
    return this.#items.length > 0
      ? Promise.resolve(this.#items.shift() as T)
      : new Promise((resolve) => this.#waiting.push(resolve));
  }
}
