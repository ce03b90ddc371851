import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it, vi } from "vitest";
import { createIdentity } from "../../protocol/identity.ts";
import { FileBlobStore } from "../../transport/blobs/file-blob-store.ts";
import { UploadBudgets } from "../runs/upload-budgets.ts";
import { AddressLimits, defaultAddressLimits } from "./address-limits.ts";
import { BlobRoutes } from "./blob-routes.ts";

const ends: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

/** Of more than systems keep for who does not read. */
const blobBytes = 32 << 20;

async function openRoutes({ isMember = true } = {}) {
  const folder = await mkdtemp(join(tmpdir(), "blob-routes-"));
  const blobs = await FileBlobStore.open({ folder, maxBlobBytes: blobBytes });
  const stored = await blobs.put(new Uint8Array(blobBytes));
  const { minerId } = createIdentity();
  const bugs: unknown[] = [];
  const stalled = Promise.withResolvers<void>();
  const routes = new BlobRoutes({
    blobs,
    bearerOf: () => ({ minerId, role: "miner" }),
    isMember: () => isMember,
    budgetsOf: () => new FakeBudgets(),
    onStalled: stalled.resolve,
    onBug: (error) => bugs.push(error),
    stallMs: 100,
  });
  const household = new AddressLimits(defaultAddressLimits, () => 0).householdAt("192.0.2.1");
  const asked = Promise.withResolvers<Socket>();
  const server = createServer((request, response) => {
    asked.resolve(request.socket);
    const name = (request.url ?? "").slice("/blobs/".length);
    void routes.handle({ request, response, name, household });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  ends.push(
    () => server.close().closeAllConnections(),
    () => rm(folder, { recursive: true }),
  );
  const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
  client.on("error", () => undefined); // it is cut off
  return { client, household, blobs, stored, asked: asked.promise, stalled: stalled.promise, bugs };
}

/** Whoever asks may store whatever it is. */
class FakeBudgets extends UploadBudgets {
  constructor() {
    super(() => {
      throw new Error("no run is needed");
    });
  }

  override remainingBytes(): number {
    return blobBytes;
  }

  override spend(): boolean {
    return true;
  }
}

const headers = "Host: network\r\nAuthorization: Bearer token\r\n";

it("a blob that somebody asks for and does not read is given up, and counted", async () => {
  const { client, stored, stalled, bugs } = await openRoutes();
  client.pause();
  client.write(`GET /blobs/${stored.hash} HTTP/1.1\r\n${headers}\r\n`);
  await stalled;
  client.resume();
  await once(client, "close");
  expect(bugs).toEqual([]);
});

it("a blob of which somebody sends a part, and no more, is given up, and counted", async () => {
  const { client, stalled, bugs } = await openRoutes();
  client.resume();
  client.write(`PUT /blobs/${"0".repeat(64)} HTTP/1.1\r\n${headers}Content-Length: 1000\r\n\r\nthe beginning`);
  await stalled;
  await once(client, "close");
  expect(bugs).toEqual([]);
});

it("a blob that the disk takes long to look through is waited for", async () => {
  const { client, blobs, stored, asked, bugs } = await openRoutes();
  const looked = Promise.withResolvers<boolean>();
  vi.spyOn(blobs, "isIntact").mockReturnValue(looked.promise);
  client.write(`HEAD /blobs/${stored.hash} HTTP/1.1\r\n${headers}\r\n`);
  await once(await asked, "timeout");
  looked.resolve(true);
  const [answer] = await once(client, "data");
  expect(String(answer)).toContain("HTTP/1.1 200");
  expect(bugs).toEqual([]);
});

it.each([
  ["somebody without a place takes of what the address may fetch", false],
  ["a member takes nothing of what the address may fetch", true],
])("a question for a blob that is not there by %s", async (_what, isMember) => {
  const { client, household } = await openRoutes({ isMember });
  client.write(`GET /blobs/${"0".repeat(64)} HTTP/1.1\r\n${headers}\r\n`);
  const [answer] = await once(client, "data");
  expect(String(answer)).toContain("HTTP/1.1 404");
  expect(household.fetched.isRested).toBe(isMember);
});
