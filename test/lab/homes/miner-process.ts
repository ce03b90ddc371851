/** A miner's connection at an emulated home, or what stands for the gateway at the server, for tests: the sockets and all that counts and paces them are real. */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WebSocketServer } from "ws";
import { systemClock } from "../../../src/miner/session/clock.ts";
import { FakeGatewaySession } from "../../../src/miner/session/fake-gateway.ts";
import { Session } from "../../../src/miner/session/session.ts";
import { gatheredBody } from "../../../src/network/gateway/gathered-body.ts";
import { createIdentity, hashBytes } from "../../../src/protocol/identity.ts";
import type { LinkReport } from "../../../src/protocol/link-report.ts";
import { memorySource } from "../../../src/transport/blob-serving.ts";
import { BlobClient } from "../../../src/transport/blobs/blob-client.ts";
import type { FrameLink } from "../../../src/transport/frame-link.ts";
import { Traffic, type TrafficLimits, type TrafficTotals } from "../../../src/transport/traffic/traffic.ts";
import { serverAddress } from "./emulated-homes.ts";

export interface MinerCalls {
  serve(): void;
  connect(limits: TrafficLimits): void;
  sendFrames(bytes: number): void;
  /** One by one, as answers and flushes are. */
  sendSmallFrames(count: number): void;
  store(bytes: number): void;
  /** As `sendFrames` or `store`, without waiting for the end. */
  begin(what: { readonly call: "sendFrames" | "store"; readonly bytes: number }): void;
  /** At what stands for the gateway. */
  arrived(): Arrived;
  /** A blob of `fetchedBytes`. */
  fetch(): void;
  figures(): MinerFigures;
}

/** Bytes. */
export interface Arrived {
  readonly frames: number;
  readonly blobs: number;
}

export interface MinerFigures {
  readonly totals: TrafficTotals;
  readonly link: LinkReport;
}

export interface MinerRequest {
  readonly call: keyof MinerCalls;
  readonly argument: unknown;
}

export const fetchedBytes = 16 << 20;
const port = 7700;
const smallFrameBytes = 60;
const { minerId: peer } = createIdentity();
const folder = mkdtempSync(join(tmpdir(), "miner-process-"));
const traffic = new Traffic(systemClock);
const blobs = new BlobClient({
  url: `http://${serverAddress}:${port}`,
  token: () => "token",
  cacheFolder: folder,
  maxCacheBytes: 1e9,
  traffic,
});
let link: FrameLink | null = null;
const arrived = { frames: 0, blobs: 0 };

const calls: { readonly [Call in keyof MinerCalls]: (argument: never) => Promise<ReturnType<MinerCalls[Call]>> } = {
  async serve() {
    const server = createServer((request, response) => {
      if (request.method === "PUT") {
        void take(request).then(() => response.writeHead(201).end());
      } else if (request.method === "HEAD") response.writeHead(404).end();
      else response.end(contents(fetchedBytes));
    });
    new WebSocketServer({ server }).on("connection", (socket) => {
      void FakeGatewaySession.open(socket, createIdentity());
      socket.on("message", ({ length }: Buffer) => {
        arrived.frames += length;
      });
    });
    server.listen(port, serverAddress);
    await once(server, "listening");
  },

  async connect(limits: TrafficLimits) {
    traffic.limit(limits);
    const opened = Promise.withResolvers<FrameLink>();
    const credentials = { identity: createIdentity(), name: "home", role: "miner" } as const;
    const url = `ws://${serverAddress}:${port}`;
    const session = new Session(
      { url, credentials, clock: systemClock, traffic, log: () => {} },
      { opened: opened.resolve, message: () => {}, lost: () => {} },
    );
    session.open();
    link = await opened.promise;
  },

  async sendFrames(bytes: number) {
    await link?.send(peer, "blob-part", contents(bytes));
  },

  async sendSmallFrames(count: number) {
    for (let sent = 0; sent < count; sent++) {
      await link?.send(peer, "answer", contents(smallFrameBytes));
      await new Promise<void>((resolve) => setTimeout(resolve, 5));
    }
  },

  async store(bytes: number) {
    const blob = contents(bytes);
    await blobs.put({ hash: hashBytes(blob), bytes }, memorySource(blob));
  },

  async begin({ call, bytes }: { readonly call: "sendFrames" | "store"; readonly bytes: number }) {
    void calls[call](bytes as never);
  },

  arrived: async () => ({ ...arrived }),

  async fetch() {
    await blobs.get({ hash: hashBytes(contents(fetchedBytes)), bytes: fetchedBytes });
  },

  figures: async () => ({ totals: traffic.totals, link: traffic.linkEstimate }),
};

process.on("message", async ({ call, argument }: MinerRequest) => {
  process.send?.({ result: await calls[call](argument as never) });
});
process.once("disconnect", () => {
  rmSync(folder, { recursive: true, force: true });
  process.exit(0);
});

/** As the gateway does. */
async function take(upload: IncomingMessage): Promise<void> {
  for await (const { length } of gatheredBody(upload)) arrived.blobs += length;
}

function contents(bytes: number): Uint8Array {
  return new Uint8Array(bytes).fill(7);
}
