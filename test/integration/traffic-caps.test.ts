/** The caps over real sockets: the bytes are those of the other end of a loopback connection, the time is virtual. */
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type WebSocket, WebSocketServer } from "ws";
import { FakeClock } from "../../src/miner/session/fake-clock.ts";
import { FakeGatewaySession } from "../../src/miner/session/fake-gateway.ts";
import { Session } from "../../src/miner/session/session.ts";
import { encodeFrame } from "../../src/protocol/frames.ts";
import { createIdentity, hashBytes } from "../../src/protocol/identity.ts";
import { memorySource } from "../../src/transport/blob-serving.ts";
import { BlobClient } from "../../src/transport/blobs/blob-client.ts";
import type { FrameLink } from "../../src/transport/frame-link.ts";
import { Traffic } from "../../src/transport/traffic/traffic.ts";

const identity = createIdentity();
const bytesPerSecond = 2e6;
const tickMs = 20;
const ticks = 100;
/** A cap is held to ±5 %, next to what may come at once: what had gathered, and one read or one piece. */
const expectedBytes = (bytesPerSecond * ticks * tickMs) / 1000;
const tolerance = 0.05;
const burstBytes = bytesPerSecond * 0.1 + (64 << 10);

describe("the caps of a miner, over real sockets", () => {
  let server: Server;
  let folder: string;
  let clock: FakeClock;
  let traffic: Traffic;
  let session: Session;
  let link: FrameLink;
  let gatewaySocket: WebSocket;
  let blobs: BlobClient;
  /** Every connection at the other end. */
  let sockets: Socket[];
  const blob = new Uint8Array(8e6);
  const blobRef = { hash: hashBytes(blob), bytes: blob.length };
  const chunk = new Uint8Array(100_000);
  const { minerId: peer } = createIdentity();
  const frame = encodeFrame({ kind: "forward", peer, messageNumber: 0, totalBytes: 1e6, offset: 0, chunk });

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "traffic-caps-"));
    sockets = [];
    server = createServer(answer).listen(0, "127.0.0.1");
    server.on("connection", (socket) => sockets.push(socket));
    const webSockets = new WebSocketServer({ server });
    await once(server, "listening");
    clock = new FakeClock();
    traffic = new Traffic(clock);
    const port = (server.address() as AddressInfo).port;
    blobs = new BlobClient({
      url: `http://127.0.0.1:${port}`,
      token: () => "token",
      cacheFolder: folder,
      maxCacheBytes: 1e9,
      traffic,
    });
    const opened = Promise.withResolvers<FrameLink>();
    const url = `ws://127.0.0.1:${port}`;
    const credentials = { identity, name: "test", role: "miner" } as const;
    session = new Session(
      { url, credentials, clock, traffic, log: () => {} },
      { opened: opened.resolve, message: () => {}, lost: () => {} },
    );
    session.open();
    clock.advance(0);
    [gatewaySocket] = (await once(webSockets, "connection")) as [WebSocket];
    await FakeGatewaySession.open(gatewaySocket, createIdentity());
    link = await opened.promise;
  });

  afterEach(async () => {
    session.close();
    server.closeAllConnections();
    server.close();
    await rm(folder, { recursive: true });
  });

  function answer(request: IncomingMessage, response: ServerResponse): void {
    if (request.method === "PUT") request.resume().once("end", () => response.writeHead(201).end());
    else if (request.method === "HEAD") response.writeHead(404).end();
    else response.end(blob);
  }

  /** Lets virtual time pass, and each time waits until all that it allows has passed. */
  async function pass(direction: "upload" | "download"): Promise<void> {
    for (let tick = 0; tick < ticks; tick++) {
      clock.advance(tickMs);
      while (traffic[direction].isOpen) await setImmediate();
    }
  }

  it("hold for frames and stored blobs together, on the way up", async () => {
    traffic.limit({ upload: bytesPerSecond, download: null });
    const before = traffic.totals.sentBytes;
    const blobSent = blobs.put(blobRef, memorySource(blob)).catch(() => undefined);
    const frameSent = link.send(peer, "forward", new Uint8Array(8e6)).catch(() => undefined);
    await pass("upload");
    const sentBytes = traffic.totals.sentBytes - before;
    expect(sentBytes).toBeGreaterThan((1 - tolerance) * expectedBytes);
    expect(sentBytes).toBeLessThan((1 + tolerance) * expectedBytes + burstBytes);
    session.close();
    server.closeAllConnections();
    traffic.limit({ upload: null, download: null });
    await Promise.all([blobSent, frameSent]);
  });

  it("hold for frames and fetched blobs together, on the way down", async () => {
    traffic.limit({ upload: null, download: bytesPerSecond });
    const before = traffic.totals.receivedBytes;
    const got = blobs.get(blobRef).catch(() => undefined);
    for (let sent = 0; sent < 8e6; sent += frame.length) gatewaySocket.send(frame);
    await pass("download");
    const receivedBytes = traffic.totals.receivedBytes - before;
    expect(receivedBytes).toBeGreaterThan((1 - tolerance) * expectedBytes);
    expect(receivedBytes).toBeLessThan((1 + tolerance) * expectedBytes + burstBytes);
    session.close();
    server.closeAllConnections();
    traffic.limit({ upload: null, download: null });
    await got;
  });

  it("count what the other end counts, and what TCP and IP add", async () => {
    await Promise.all([blobs.put(blobRef, memorySource(blob)), blobs.get(blobRef), link.send(peer, "forward", blob)]);
    const arrived = () => sockets.reduce((sum, { bytesRead }) => sum + bytesRead, 0);
    while (arrived() < 2 * blob.length || gatewaySocket.bufferedAmount > 0) await setImmediate();
    const { sentBytes, receivedBytes } = traffic.totals;
    const served = sockets.reduce((sum, { bytesWritten }) => sum + bytesWritten, 0);
    const headerShare = 52 / 1448;
    expect(sentBytes / arrived() / (1 + headerShare)).toBeCloseTo(1, 2);
    // Of frames every second segment, of what is stored every 8 KiB: the gateway lets it gather.
    const acknowledging = (blob.length / 2) * headerShare + (blob.length / 8192) * 52;
    expect(receivedBytes / (served * (1 + headerShare) + acknowledging)).toBeCloseTo(1, 2);
  });
});
