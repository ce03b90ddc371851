import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type WebSocket, WebSocketServer } from "ws";
import { signedHeaderBytes } from "../../protocol/control-channel.ts";
import type { Failure } from "../../protocol/failure.ts";
import type { GatewayMessage } from "../../protocol/gateway-messages.ts";
import { createIdentity, sessionProof, verifySignature } from "../../protocol/identity.ts";
import { encodeMessage, protocolVersion } from "../../protocol/messages.ts";
import { Traffic } from "../../transport/traffic/traffic.ts";
import { backOffMs } from "./back-off.ts";
import { FakeClock } from "./fake-clock.ts";
import { FakeGatewaySession, fakeNonce } from "./fake-gateway.ts";
import { Session } from "./session.ts";

describe("a session", () => {
  const identity = createIdentity();
  const network = createIdentity();
  const networkId = network.minerId;
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
      { url, networkId, credentials, clock, traffic: new Traffic(clock), log: () => {} },
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

  const sayUnsigned = (socket: WebSocket, message: GatewayMessage) => socket.send(encodeMessage(message));
  async function welcome() {
    const socket = await gatewaySockets.next();
    const gateway = await FakeGatewaySession.open(socket, network);
    const proof = sessionProof(fakeNonce, networkId, "miner");
    expect(verifySignature(identity.minerId, proof, gateway.hello.signature)).toBe(true);
    expect(await happened.next()).toBe("opened");
    return { socket, gateway };
  }

  it("answers the challenge with a signature, and then passes messages both ways", async () => {
    const { socket, gateway } = await welcome();
    expect(session.blobToken).toBe("token");
    const leave = { type: "leave", reason: "test" } as const;
    expect(session.send(leave)).toBe(true);
    const [data] = (await once(socket, "message")) as [Buffer];
    expect(gateway.read(data)).toEqual(leave);
    gateway.say({ type: "idle", reason: "none" });
    expect(await happened.next()).toEqual({ type: "idle", reason: "none" });
  });

  it("connects again after a pause when the connection is lost", async () => {
    const { socket } = await welcome();
    socket.terminate();
    expect(await happened.next()).toMatchObject({ code: "unreachable" });
    expect(session.send({ type: "leave", reason: "lost" })).toBe(false);
    clock.advance(backOffMs(1, clock.random()));
    await welcome();
  });

  it("gives the gateway's reason when it refuses", async () => {
    const socket = await gatewaySockets.next();
    const failure: Failure = { code: "not-authorised", message: "Not on the list.", action: "Ask.", retry: false };
    sayUnsigned(socket, { type: "refused", failure, closing: true });
    socket.close();
    expect(await happened.next()).toEqual(failure);
  });

  it("believes no other reason once it has said who it is than one that the network has signed", async () => {
    const socket = await gatewaySockets.next();
    await FakeGatewaySession.greet(socket, network);
    const failure: Failure = { code: "unsupported-version", message: "Old.", action: "Run this.", retry: false };
    sayUnsigned(socket, { type: "refused", failure, closing: true });
    expect(await happened.next()).toMatchObject({ code: "bad-signature", retry: true });
  });

  it("is over, and the next one follows, when somebody says what the network has not signed", async () => {
    const socket = await gatewaySockets.next();
    // It has the network's name, and not its key.
    await FakeGatewaySession.open(socket, { ...createIdentity(), minerId: networkId });
    expect(await happened.next()).toMatchObject({ code: "bad-signature", retry: true });
    clock.advance(backOffMs(1, clock.random()));
    await welcome();
  });

  it("tells nothing to another network than its address means", async () => {
    const socket = await gatewaySockets.next();
    const heard: unknown[] = [];
    socket.on("message", (data) => heard.push(data));
    const { minerId: otherNetworkId } = createIdentity();
    sayUnsigned(socket, { type: "challenge", protocol: protocolVersion, networkId: otherNetworkId, nonce: fakeNonce });
    expect(await happened.next()).toMatchObject({ code: "bad-signature", retry: false });
    expect(heard).toEqual([]);
  });

  it("does not talk to a gateway of another version, and says who should update", async () => {
    const socket = await gatewaySockets.next();
    sayUnsigned(socket, { type: "challenge", protocol: protocolVersion + 1, networkId, nonce: fakeNonce });
    expect(await happened.next()).toMatchObject({
      code: "unsupported-version",
      action: expect.stringContaining("Update Train at Home"),
    });
  });

  it("asks a gateway that it has not heard for a moment for a sign of life, so that a dead connection is reset", async () => {
    const { socket } = await welcome();
    const asked = once(socket, "ping");
    clock.advance(1500);
    await asked;
  });

  it("takes silence for death", async () => {
    const { socket, gateway } = await welcome();
    clock.advance(14_000);
    socket.ping();
    gateway.say({ type: "idle", reason: "still here" });
    await happened.next();
    clock.advance(14_000);
    clock.advance(1000);
    expect(await happened.next()).toMatchObject({ code: "timed-out" });
  });

  it.each([
    ["bytes that mean nothing", Uint8Array.of(1, 2, 3)],
    ["a frame cut short", Buffer.from("TAH1")],
    ["nothing", new Uint8Array(0)],
    ["an unsigned message", encodeMessage({ type: "idle", reason: "unsigned" })],
    ["a signed message cut short", Buffer.alloc(signedHeaderBytes - 1, 2)],
  ])("survives %s, before the welcome and after it", async (_, bytes) => {
    const early = await gatewaySockets.next();
    early.send(encodeMessage({ type: "welcome", blobToken: "too-early", bootstrap: [] }));
    expect(await happened.next()).toMatchObject({ code: "unexpected-message" });
    clock.advance(10_000); // the longest pause: this gateway will hardly be a better one soon
    const { socket } = await welcome();
    socket.send(bytes);
    expect(await happened.next()).toMatchObject({ retry: expect.any(Boolean) });
    clock.advance(12_500);
    await welcome();
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
