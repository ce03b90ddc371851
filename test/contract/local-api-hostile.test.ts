/**
 * Whatever arrives at the local API's port, the daemon answers with a typed failure or closes the connection, and an honest
 * client beside it never notices.
 */
import { request as httpRequest } from "node:http";
import { connect as connectTcp } from "node:net";
import { text as readText } from "node:stream/consumers";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { z } from "zod";
import { connectLocalApi, type LocalApiClient } from "../../src/miner/local-api/client.ts";
import { failureSchema } from "../../src/protocol/failure.ts";
import { type ApiReply, apiReplySchema, closeCodes, maxRequestBytes } from "../../src/protocol/local-api.ts";
import { type DaemonWorld, startDaemonWorld } from "./local-api-world.ts";

const seed = 20_261_123;
const honestId = 1_000_000;
/** Ours, and those by which the WebSocket protocol itself answers broken frames: protocol error, not UTF-8, too big. */
const expectedCloseCodes: readonly number[] = [closeCodes.malformed, closeCodes.tooLarge, 1002, 1007, 1009];

let world: DaemonWorld;
let honest: LocalApiClient;

beforeAll(async () => {
  world = await startDaemonWorld();
  honest = await connectLocalApi(world.daemon.address);
});
afterAll(async () => {
  honest.close();
  await world.close();
});

const wellFormed = fc.record({
  id: fc.nat(),
  command: fc.constantFrom("snapshot", "pause", "start", "logs", "processes", "pause-run"),
  parameters: fc.constantFrom<unknown>({}, { lines: 3 }, { runId: "demo" }),
});

const mutatedJson = fc
  .tuple(wellFormed, fc.nat(), fc.integer({ min: 0, max: 5 }), fc.string())
  .map(([request, position, removed, inserted]) => {
    const json = JSON.stringify(request);
    const at = position % json.length;
    return json.slice(0, at) + inserted + json.slice(at + removed);
  });

const wrongShape = fc.oneof(
  fc.json(),
  fc
    .record({ id: fc.jsonValue(), command: fc.jsonValue(), parameters: fc.jsonValue() })
    .map((value) => JSON.stringify(value)),
  fc
    .record({
      id: fc.nat(),
      command: fc.constantFrom("__proto__", "toString", "constructor", ""),
      parameters: fc.object(),
    })
    .map((value) => JSON.stringify(value)),
);

const deeplyNested = fc
  .tuple(
    fc.constantFrom("[", '{"a":', '{"id":1,"command":"logs","parameters":{"lines":['),
    fc.integer({ min: 1, max: 12_000 }),
  )
  .map(([opening, depth]) => opening.repeat(depth).slice(0, maxRequestBytes));

const oversized = fc.integer({ min: maxRequestBytes + 1, max: 6 * maxRequestBytes }).map((bytes) => " ".repeat(bytes));

interface HostileMessage {
  readonly data: string | Uint8Array;
  readonly binary: boolean;
}

const hostileMessage: fc.Arbitrary<HostileMessage> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ data: fc.uint8Array({ maxLength: 300 }), binary: fc.boolean() }) },
  { weight: 8, arbitrary: fc.record({ data: mutatedJson, binary: fc.constant(false) }) },
  { weight: 8, arbitrary: fc.record({ data: wrongShape, binary: fc.constant(false) }) },
  { weight: 1, arbitrary: fc.record({ data: deeplyNested, binary: fc.constant(false) }) },
  { weight: 1, arbitrary: fc.record({ data: oversized, binary: fc.boolean() }) },
);

describe("hostile input at the local API", () => {
  it("answers 3,500 hostile messages with a typed failure or an end of the connection", async () => {
    await fc.assert(
      fc.asyncProperty(hostileMessage, async (message) => {
        const { replies, closeCode } = await sendHostile(message);
        for (const reply of replies) expect(apiReplySchema.safeParse(reply).success).toBe(true);
        if (closeCode !== null) expect(expectedCloseCodes).toContain(closeCode);
        else expect(replies.length).toBeGreaterThan(0);
      }),
      { seed, numRuns: 3500 },
    );
    await expectHonestService();
  }, 60_000);

  it("lets nobody in who names the wrong host, comes from a foreign page or lacks the token (1,000 cases)", async () => {
    const address = new URL(world.daemon.address.url);
    const origins = [
      undefined,
      "null",
      "file://",
      "app://train-at-home",
      "https://example.org",
      address.origin,
      `${address.origin}.evil.example`,
    ];
    const attempt = fc.record({
      host: fc.constantFrom(
        address.host,
        `localhost:${address.port}`,
        "example.org",
        `rebound.example:${address.port}`,
        "127.0.0.1",
      ),
      origin: fc.constantFrom(...origins),
      token: fc.oneof(fc.string({ maxLength: 50 }), fc.constant(world.daemon.address.token.slice(0, -1))),
      inHeader: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(attempt, async (headers) => {
        const failure = await tryToEnter(headers);
        expect(["origin-refused", "not-authorised", "http"]).toContain(failure);
      }),
      { seed, numRuns: 1000 },
    );
    await expectHonestService();
  }, 30_000);

  it("survives 600 connections that speak no HTTP at all", async () => {
    const { port } = new URL(world.daemon.address.url);
    const upgrade = `GET /api?token=${world.daemon.address.token} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`;
    const bytes = fc.uint8Array({ minLength: 1, maxLength: 2000 });
    const start = fc.constantFrom("", "GET / HTTP/1.1\r\n", "POST /api HTTP/1.1\r\nContent-Length: 1\r\n\r\n", upgrade);
    await fc.assert(
      fc.asyncProperty(start, bytes, async (head, garbage) => {
        await sendRaw(Number(port), Buffer.concat([Buffer.from(head), garbage]));
      }),
      { seed, numRuns: 600 },
    );
    await expectHonestService();
  }, 30_000);
});

/** Sends the message and an honest request behind it; resolves at the answer to that, or when the connection is closed. */
function sendHostile({ data, binary }: HostileMessage): Promise<{ replies: ApiReply[]; closeCode: number | null }> {
  const { url, token } = world.daemon.address;
  const socket = new WebSocket(`${url.replace("http", "ws")}/api`, { headers: { authorization: `Bearer ${token}` } });
  const replies: ApiReply[] = [];
  return new Promise((resolve, reject) => {
    socket.on("open", () => {
      socket.send(data, { binary });
      socket.send(JSON.stringify({ id: honestId, command: "logs", parameters: { lines: 1 } }));
    });
    socket.on("message", (text) => {
      const message = JSON.parse(text.toString());
      if (!("reply" in message)) return;
      if (message.reply !== honestId) replies.push(message);
      else {
        socket.terminate();
        resolve({ replies, closeCode: null });
      }
    });
    socket.on("close", (closeCode) => resolve({ replies, closeCode }));
    socket.on("error", reject);
  });
}

interface Attempt {
  readonly host: string;
  readonly origin: string | undefined;
  readonly token: string;
  readonly inHeader: boolean;
}

/** The code of the failure that the daemon refuses with; "http" when Node's own parser refused the request. */
async function tryToEnter({ host, origin, token, inHeader }: Attempt): Promise<string> {
  const query = inHeader ? "" : `?${new URLSearchParams({ token })}`;
  const authorization = `Bearer ${encodeURIComponent(token)}`;
  const headers = { host, ...(origin !== undefined && { origin }), ...(inHeader && { authorization }) };
  const { url } = world.daemon.address;
  const socket = new WebSocket(`${url.replace("http", "ws")}/api${query}`, { headers });
  return new Promise((resolve, reject) => {
    socket.on("message", (text) => resolve(refusalIn(text.toString())));
    socket.on("unexpected-response", (_request, response) => {
      readText(response).then((body) => resolve(response.statusCode === 403 ? refusalIn(body) : "http"), reject);
    });
    socket.on("error", reject);
  });
}

function refusalIn(text: string): string {
  return z.object({ failure: failureSchema }).parse(JSON.parse(text)).failure.code;
}

/** Sends bytes and reads until the daemon ends the connection, or until this end, having said all, is closed. */
function sendRaw(port: number, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    const socket = connectTcp({ port, host: "127.0.0.1" }, () => socket.end(bytes));
    socket.on("data", () => undefined);
    socket.on("error", () => socket.destroy()); // reset by the daemon: it has seen enough
    socket.on("close", () => resolve());
  });
}

async function expectHonestService(): Promise<void> {
  const { state } = await honest.call("snapshot", {});
  expect(state.machine.pid).toBe(process.pid);
  const fresh = await connectLocalApi(world.daemon.address);
  fresh.close();
  const status = await new Promise<number | undefined>((resolve, reject) => {
    httpRequest(world.daemon.address.url, (response) => resolve(response.resume().statusCode))
      .on("error", reject)
      .end();
  });
  expect(status).toBe(404); // no dashboard is built here, and the server says so
}
