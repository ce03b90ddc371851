import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type WebSocket, WebSocketServer } from "ws";
import { exampleState } from "../../../test/contract/example-views.ts";
import { emptyLists } from "../../protocol/app-view.ts";
import type { ApiEvent, ApiReply } from "../../protocol/local-api.ts";
import { connectLocalApi } from "./client.ts";

/** A daemon that misbehaves as each test says. */
let fakeServer: WebSocketServer;
let address: { url: string; token: string };

beforeEach(async () => {
  fakeServer = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  await once(fakeServer, "listening");
  address = { url: `http://127.0.0.1:${(fakeServer.address() as AddressInfo).port}`, token: "t".repeat(43) };
});
afterEach(async () => {
  for (const client of fakeServer.clients) client.terminate();
  await new Promise((resolve) => fakeServer.close(resolve));
});

const snapshot = (version: number): ApiEvent => ({
  event: "snapshot",
  version,
  state: exampleState(),
  lists: emptyLists,
});
const delta = (version: number): ApiEvent => ({ event: "delta", version, set: {}, append: {} });

function send(socket: WebSocket, message: ApiEvent | ApiReply): void {
  socket.send(JSON.stringify(message));
}

function serve(onConnection: (socket: WebSocket, connection: number) => void): void {
  let connection = 0;
  fakeServer.on("connection", (socket) => onConnection(socket, connection++));
}

describe("the WebSocket client", () => {
  it("connects again after a gap, and goes on with a fresh snapshot", async () => {
    serve((socket, connection) => {
      send(socket, snapshot(connection === 0 ? 1 : 40));
      socket.on("message", () => send(socket, delta(connection === 0 ? 3 : 41)));
    });
    const api = await connectLocalApi(address);
    const seen: string[] = [];
    const resumed = new Promise<void>((resolve) => {
      api.subscribe(({ event, version }) => {
        seen.push(`${event} ${version}`);
        if (version === 40) resolve();
      });
    });
    await expect(api.call("logs", {})).rejects.toMatchObject({ failure: { code: "unreachable", retry: true } });
    await resumed;
    expect(seen).toEqual(["snapshot 1", "snapshot 40"]);
    api.close();
  });

  it("fails calls in flight when the daemon goes away, and every later one", async () => {
    serve((socket) => {
      send(socket, snapshot(1));
      socket.on("message", () => socket.terminate());
    });
    const api = await connectLocalApi(address);
    await expect(api.call("start", {})).rejects.toMatchObject({ failure: { code: "unreachable" } });
    await expect(api.call("start", {})).rejects.toMatchObject({ failure: { code: "unreachable" } });
    await expect(api.closed).resolves.toMatchObject({ code: "unreachable" });
  });

  it("says why the daemon refused it", async () => {
    const failure = { code: "not-authorised", message: "no", action: "", retry: false } as const;
    serve((socket) => send(socket, { reply: null, ok: false, failure }));
    await expect(connectLocalApi(address)).rejects.toMatchObject({ failure });
  });

  it("recognises a daemon of another version", async () => {
    serve((socket) => socket.send('{"event":"hologram"}'));
    await expect(connectLocalApi(address)).rejects.toMatchObject({ failure: { code: "unsupported-version" } });
  });

  it("does not take a result of the wrong shape for an answer", async () => {
    serve((socket) => {
      send(socket, snapshot(1));
      socket.on("message", () => send(socket, { reply: 1, ok: true, result: "seven" }));
    });
    const api = await connectLocalApi(address);
    await expect(api.call("logs", {})).rejects.toMatchObject({ failure: { code: "unsupported-version" } });
    api.close();
  });

  it("gives up on a daemon that accepts and then says nothing", async () => {
    await expect(connectLocalApi(address, { timeoutMs: 50 })).rejects.toMatchObject({ failure: { code: "timed-out" } });
  });

  it("says that nobody is there", async () => {
    await new Promise((resolve) => fakeServer.close(resolve));
    await expect(connectLocalApi(address)).rejects.toMatchObject({ failure: { code: "unreachable", retry: true } });
  });

  it("rejects calls after it was closed", async () => {
    serve((socket) => send(socket, snapshot(1)));
    const api = await connectLocalApi(address);
    api.close();
    await expect(api.call("logs", {})).rejects.toMatchObject({ failure: { code: "cancelled" } });
  });
});
