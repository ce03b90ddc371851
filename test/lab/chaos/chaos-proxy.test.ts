import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { ChaosProxy } from "./chaos-proxy.ts";
import { fairWeather, fateOf, type Weather } from "./weather.ts";

const badWeather: Weather = { dropped: 0.1, duplicated: 0.1, reordered: 0.1, delayed: 0, delayMs: 0 };

describe("the chaos proxy", () => {
  let gateway: FakeGateway;
  const opened: { close(): unknown }[] = [];
  beforeEach(async () => {
    gateway = await FakeGateway.listen();
  });
  afterEach(async () => {
    for (const one of opened.splice(0).reverse()) await one.close();
    await gateway.close();
  });

  async function openProxy(seed = 1): Promise<ChaosProxy> {
    const proxy = await ChaosProxy.listen({ target: gateway.url, seed, name: "miner 1" });
    opened.push(proxy);
    return proxy;
  }

  async function connect(proxy: ChaosProxy): Promise<WebSocket> {
    const client = new WebSocket(new URL("/session", proxy.url));
    opened.push({ close: () => client.terminate() });
    await once(client, "open");
    return client;
  }

  /** What arrives of 200 numbered frames, and of something else before them, under bad weather. */
  async function sendThrough(seed: number): Promise<readonly string[]> {
    const proxy = await openProxy(seed);
    proxy.weather = badWeather;
    const client = await connect(proxy);
    const arrived = gateway.untilClosed();
    client.send("spared");
    for (let index = 0; index < 200; index++) client.send(frame(index));
    client.close();
    return arrived;
  }

  it("changes nothing in fair weather", async () => {
    const client = await connect(await openProxy());
    const arrived = gateway.untilClosed();
    client.send("hello");
    client.close();
    expect(await arrived).toEqual(["hello"]);
  });

  it("mishandles the same messages in the same way under the same seed", async () => {
    const first = await sendThrough(7);
    expect(await sendThrough(7)).toEqual(first);
    expect(await sendThrough(8)).not.toEqual(first);
  });

  it("drops, doubles and reorders about as many as it was told, and nothing but frames", async () => {
    const [first, ...frames] = await sendThrough(3);
    const arrived = frames.map(numberOf);
    const counts = Map.groupBy(arrived, (index) => index);
    const overtaken = arrived.filter((index, place) => index < (arrived[place - 1] ?? 0));
    const doubled = [...counts.values()].filter((copies) => copies.length === 2);
    expect(first).toBe("spared");
    for (const mishandled of [200 - counts.size, doubled.length, overtaken.length]) {
      expect(mishandled).toBeGreaterThan(5);
      expect(mishandled).toBeLessThan(40);
    }
  });

  it("lets the others pass a message that it delays", async () => {
    const proxy = await openProxy();
    proxy.weather = { ...fairWeather, delayed: 0.5, delayMs: 20 };
    const client = await connect(proxy);
    for (let index = 0; index < 20; index++) client.send(frame(index));
    const arrived = (await gateway.untilReceived(20)).map(numberOf);
    const inOrder = Array.from({ length: 20 }, (_, index) => index);
    expect(arrived.toSorted((a, b) => a - b)).toEqual(inOrder);
    expect(arrived).not.toEqual(inOrder);
  });

  it("passes nothing while the network is partitioned, and afterwards what was on its way", async () => {
    const [proxy, healthy] = [await openProxy(), await openProxy()];
    const [client, witness] = [await connect(proxy), await connect(healthy)];
    proxy.partition(true);
    const answer = fetch(httpAddress(proxy)).catch(() => "broken");
    const stranger = new WebSocket(new URL("/session", proxy.url));
    opened.push({ close: () => stranger.terminate() });
    const refused = once(stranger, "error").then(() => "refused");
    client.send("held");
    gateway.send("held, too");
    // What went another way at the same time, and later, arrives.
    await (await fetch(httpAddress(healthy))).text();
    witness.send("witness");
    expect(await gateway.untilReceived(1)).toEqual(["witness"]);
    const down = once(client, "message") as Promise<[Buffer]>;
    proxy.partition(false);
    expect(await gateway.untilReceived(2)).toEqual(["witness", "held"]);
    expect((await down)[0].toString()).toBe("held, too");
    expect(await answer).toBe("broken");
    expect(await refused).toBe("refused");
  });

  it("passes HTTP on, both bodies and all headers", async () => {
    const proxy = await openProxy();
    const response = await fetch(httpAddress(proxy), {
      method: "PUT",
      body: "bytes",
      headers: { authorization: "Bearer token" },
    });
    expect(response.status).toBe(201);
    expect(await response.text()).toBe("PUT /blobs/1 Bearer token bytes");
  });

  it("closes one side with the other's code", async () => {
    const client = await connect(await openProxy());
    const closed = once(client, "close") as Promise<[number, Buffer]>;
    gateway.hangUp(4001, "replaced");
    const [code, reason] = await closed;
    expect([code, reason.toString()]).toEqual([4001, "replaced"]);
  });
});

describe("a message's fate", () => {
  it("is drawn with the shares that the weather gives", () => {
    const fates = Array.from({ length: 10_000 }, (_, index) => fateOf({ ...badWeather, delayed: 0.2 }, [1, 2], index));
    const share = (fate: string) => fates.filter((one) => one === fate).length / fates.length;
    expect(share("drop")).toBeCloseTo(0.1, 1);
    expect(share("delay")).toBeCloseTo(0.2, 1);
    expect(share("pass")).toBeCloseTo(0.5, 1);
  });
});

/** As much of a frame as tells it from a control message. */
function frame(number: number): Uint8Array {
  return Buffer.from(`TAH1${number}`);
}

function numberOf(frame: string): number {
  return Number(frame.replace("TAH1", ""));
}

function httpAddress(proxy: ChaosProxy): URL {
  return new URL("/blobs/1", proxy.url.href.replace("ws", "http"));
}

/** Records what its sockets receive, and answers HTTP with what it was asked. */
class FakeGateway {
  readonly received: string[] = [];
  readonly #server: Server;
  readonly #webSockets: WebSocketServer;
  #changed = Promise.withResolvers<void>();

  private constructor() {
    this.#server = createServer(async (request, response) => {
      const body = await text(request);
      response.writeHead(201).end(`${request.method} ${request.url} ${request.headers.authorization} ${body}`);
    });
    this.#webSockets = new WebSocketServer({ server: this.#server });
    this.#webSockets.on("connection", (socket) => {
      socket.on("message", (bytes: Buffer) => {
        this.received.push(bytes.toString());
        this.#tellChange();
      });
      socket.on("close", () => this.#tellChange());
    });
  }

  static async listen(): Promise<FakeGateway> {
    const gateway = new FakeGateway();
    await new Promise<void>((resolve) => gateway.#server.listen(0, "127.0.0.1", resolve));
    return gateway;
  }

  get url(): URL {
    return new URL(`ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}`);
  }

  send(text: string): void {
    for (const socket of this.#webSockets.clients) socket.send(text);
  }

  hangUp(code: number, reason: string): void {
    for (const socket of this.#webSockets.clients) socket.close(code, reason);
  }

  async untilReceived(count: number): Promise<readonly string[]> {
    while (this.received.length < count) await this.#changed.promise;
    return this.received;
  }

  /** What has come when the one connection has ended. */
  async untilClosed(): Promise<readonly string[]> {
    while (this.received.length === 0 || this.#webSockets.clients.size > 0) await this.#changed.promise;
    return this.received.splice(0);
  }

  async close(): Promise<void> {
    for (const socket of this.#webSockets.clients) socket.terminate();
    this.#webSockets.close();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #tellChange(): void {
    // A socket is taken off the list only after its listeners have heard that it closed.
    setImmediate(() => {
      this.#changed.resolve();
      this.#changed = Promise.withResolvers<void>();
    });
  }
}
