import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { exampleState } from "../../../test/contract/example-views.ts";
import { closeCodes, maxRequestBytes } from "../../protocol/local-api.ts";
import { createToken } from "./access.ts";
import { logChange } from "./app-state.ts";
import { connectLocalApi } from "./client.ts";
import { createFeed, type Feed } from "./feed.ts";
import type { Handlers } from "./handlers.ts";
import { type LocalApiServer, type LocalApiServerOptions, startLocalApiServer } from "./server.ts";

const token = createToken();
let uiFolder: string;
let feed: Feed;
let server: LocalApiServer;
let bugs: string[];

/** Only what these tests call is there; anything else is a mistake of the test. */
const handlers = {
  logs: () => [],
  doctor: () => {
    throw new TypeError("a bug");
  },
} as Partial<Handlers> as Handlers;

function start(options: Partial<LocalApiServerOptions> = {}): Promise<LocalApiServer> {
  const onBug = (what: string, error: unknown) => bugs.push(`${what}: ${error}`);
  return startLocalApiServer({ handlers, feed, token, port: 0, uiFolder, onBug, ...options });
}

beforeEach(async () => {
  bugs = [];
  uiFolder = join(mkdtempSync(join(tmpdir(), "tah-ui-")), "renderer");
  mkdirSync(join(uiFolder, "assets"), { recursive: true });
  writeFileSync(join(uiFolder, "index.html"), "<title>dashboard</title>");
  writeFileSync(join(uiFolder, "assets", "app.js"), "1;");
  writeFileSync(join(uiFolder, "..", "secret.json"), "{}");
  feed = createFeed(exampleState());
  server = await start();
});
afterEach(async () => {
  await server.close();
  feed.close();
  rmSync(join(uiFolder, ".."), { recursive: true });
});

describe("the dashboard's files", () => {
  it("are served with a policy that lets the page talk to nobody but this daemon", async () => {
    const page = await get("/?token=whatever");
    expect(page).toMatchObject({ status: 200, body: "<title>dashboard</title>" });
    expect(page.headers["content-type"]).toBe("text/html; charset=utf-8");
    expect(page.headers["x-content-type-options"]).toBe("nosniff");
    expect(page.headers["referrer-policy"]).toBe("no-referrer");
    const policy = String(page.headers["content-security-policy"]);
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).toContain(`connect-src 'self' ws://127.0.0.1:${server.port}`);
    expect((await get("/assets/app.js")).headers["content-type"]).toBe("text/javascript; charset=utf-8");
  });

  it.each([
    "/../secret.json",
    "/%2e%2e/secret.json",
    "/..%2fsecret.json",
    "/assets/..%2f..%2fsecret.json",
    "/%00",
    "/%",
    "/none.js",
    "/assets",
  ])("do not include %s", async (path) => {
    expect((await get(path)).status).toBe(404);
  });

  it("are only read", async () => {
    expect((await get("/", { method: "POST" })).status).toBe(405);
    expect(await get("/", { method: "HEAD" })).toMatchObject({ status: 200, body: "" });
  });

  it("are refused to other names of this computer and to foreign pages", async () => {
    expect((await get("/", { headers: { host: "rebound.example" } })).status).toBe(403);
    expect((await get("/", { headers: { host: `rebound.example:${server.port}` } })).status).toBe(403);
    expect((await get("/", { headers: { origin: "https://example.org" } })).status).toBe(403);
    expect((await get("/", { headers: { host: `localhost:${server.port}` } })).status).toBe(200);
  });
});

describe("the WebSocket", () => {
  it("lets in whoever knows the token: programs, our page, and the app's window with a header", async () => {
    const origin = server.url;
    const withHeader = { authorization: `Bearer ${token}` };
    for (const headers of [undefined, { origin }, { origin: `http://localhost:${server.port}` }])
      expect(await firstMessage(open(`?token=${token}`, headers))).toMatchObject({ event: "snapshot" });
    for (const headers of [withHeader, { ...withHeader, origin: "file://" }, { ...withHeader, origin: "null" }])
      expect(await firstMessage(open("", headers))).toMatchObject({ event: "snapshot" });
  });

  it("tells a page with a wrong token so, and closes with 4401", async () => {
    const socket = open(`?token=${createToken()}`, { origin: server.url });
    const closed = closing(socket);
    expect(await firstMessage(socket)).toMatchObject({ reply: null, ok: false, failure: { code: "not-authorised" } });
    expect(await closed).toBe(closeCodes.notAuthorised);
  });

  it.each([
    ["a foreign page", { origin: "https://example.org" }],
    ["a page on another port of this computer", { origin: "http://127.0.0.1:1" }],
    ["a page that claims to be a file, without a header", { origin: "file://" }],
    ["a name that was rebound to this computer", { host: "rebound.example" }],
  ])("refuses %s with 403, even with the token", async (_who, headers) => {
    expect(await refusedWith(open(`?token=${token}`, headers))).toBe(403);
  });

  it("closes on what is no request, saying why first", async () => {
    for (const [data, code, closeCode] of [
      ["{", "malformed-message", closeCodes.malformed],
      [Buffer.from("{}"), "malformed-message", closeCodes.malformed],
      [" ".repeat(maxRequestBytes + 1), "message-too-large", closeCodes.tooLarge],
    ] as const) {
      const socket = open(`?token=${token}`);
      const closed = closing(socket);
      const refusal = messageWhere(socket, (message) => "reply" in message);
      socket.on("open", () => socket.send(data));
      expect(await refusal).toMatchObject({ reply: null, ok: false, failure: { code } });
      expect(await closed).toBe(closeCode);
    }
  });

  it("reports a bug in a handler without its details, logs them, and stays open", async () => {
    const api = await connectLocalApi({ url: server.url, token });
    await expect(api.call("doctor", {})).rejects.toMatchObject({ failure: { code: "internal-error" } });
    expect(bugs).toEqual(["doctor: TypeError: a bug"]);
    await expect(api.call("logs", {})).resolves.toEqual([]);
    api.close();
  });

  it("cuts off a client that does not read, and nobody else", async () => {
    await server.close();
    server = await start({ maxBufferedBytes: 1 << 20 });
    const honest = await connectLocalApi({ url: server.url, token });
    const closed = honest.closed.then(() => "closed");
    const lazy = await connectWithoutReading(server.port);
    const cutOff = new Promise((resolve) => lazy.on("close", resolve));
    const line = { sequence: 0, atMs: 0, level: "info", source: "test", text: "x".repeat(1 << 20) } as const;
    // Far more than the socket buffers of any system take; each line waits until the honest client has read the one before.
    for (let sent = 0; sent < 64; sent++) {
      feed.apply({ ...logChange({ ...line, sequence: sent }), urgent: true });
      await honest.call("logs", {});
    }
    lazy.resume(); // to notice the end
    await cutOff;
    await expect(Promise.race([closed, honest.call("logs", {})])).resolves.toEqual([]);
    honest.close();
  });

  it("serves a bounded number of clients", async () => {
    const clients = await Promise.all(Array.from({ length: 64 }, () => connectLocalApi({ url: server.url, token })));
    await expect(connectLocalApi({ url: server.url, token })).rejects.toMatchObject({
      failure: { code: "too-many-connections" },
    });
    for (const client of clients) client.close();
  });

  it("says that it stops", async () => {
    const closed = closing(open(`?token=${token}`));
    await connectLocalApi({ url: server.url, token });
    await server.close();
    expect(await closed).toBe(closeCodes.serverStopping);
  });
});

it("names a port that is taken, and what to do", async () => {
  await expect(start({ port: server.port })).rejects.toMatchObject({
    failure: {
      code: "port-in-use",
      message: expect.stringContaining(String(server.port)),
      action: expect.stringContaining("--api-port"),
    },
  });
});

function open(query: string, headers?: Record<string, string>): WebSocket {
  return new WebSocket(`ws://127.0.0.1:${server.port}/api${query}`, headers && { headers });
}

function firstMessage(socket: WebSocket): Promise<object> {
  return messageWhere(socket, () => true);
}

function messageWhere(socket: WebSocket, wanted: (message: object) => boolean): Promise<object> {
  return new Promise((resolve, reject) => {
    socket.on("message", (data) => {
      const message = JSON.parse(data.toString());
      if (wanted(message)) resolve(message);
    });
    socket.on("error", reject);
  });
}

function closing(socket: WebSocket): Promise<number> {
  return new Promise((resolve) => socket.on("close", resolve));
}

function refusedWith(socket: WebSocket): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    socket.on("unexpected-response", (_request, response) => resolve(response.resume().statusCode));
    socket.on("open", () => reject(new Error("it was let in")));
  });
}

interface Answer {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** `fetch` would tidy the path and refuse some headers. */
function get(path: string, options: { method?: string; headers?: Record<string, string> } = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: "127.0.0.1", port: server.port, path, ...options }, (response) => {
      text(response).then((body) => resolve({ status: response.statusCode, headers: response.headers, body }), reject);
    });
    sent.on("error", reject).end();
  });
}

async function connectWithoutReading(port: number) {
  const socket = connect({ port, host: "127.0.0.1" });
  socket.write(
    `GET /api?token=${token} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
  );
  await new Promise((resolve) => socket.once("data", resolve));
  socket.pause();
  socket.on("error", () => socket.destroy());
  return socket;
}
