import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { hashBytes } from "../../protocol/identity.ts";
import { BlobClient } from "../../transport/blobs/blob-client.ts";
import { Traffic } from "../../transport/traffic/traffic.ts";
import { defaultAddressLimits } from "./address-limits.ts";
import { FrontDoor } from "./front-door.ts";
import { Refusals } from "./refusals.ts";

/** No time passes: what an address has spent of its connections does not come back. */
const clock = () => 0;

describe("the front door", () => {
  let folder = "";
  const ends: (() => void)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0)) end();
    await rm(folder, { recursive: true, force: true });
  });

  it("turns none of forty computers away that share an address and fetch forty blobs each at the same time", async () => {
    folder = await mkdtemp(join(tmpdir(), "front-door-"));
    const refusals = new Refusals();
    const door = new FrontDoor({ limits: defaultAddressLimits, behindProxy: false, refusals, clock });
    const blobs = new Map<string, Uint8Array>(
      Array.from({ length: 40 }, (_, number) => {
        const bytes = new Uint8Array(1000).fill(number);
        return [hashBytes(bytes), bytes] as const;
      }),
    );
    const server = createServer(({ url = "" }, response) => {
      response.end(blobs.get(url.slice("/blobs/".length)));
    });
    server.on("connection", (socket: Socket) => door.connected(socket));
    server.listen(0, "127.0.0.1");
    ends.push(() => server.close().closeAllConnections());
    await once(server, "listening");
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const computers = Array.from({ length: 40 }, (_, number) => {
      const traffic = new Traffic({ nowMs: clock, after: () => () => {} });
      const cacheFolder = join(folder, String(number));
      return new BlobClient({ url, token: () => "token", cacheFolder, maxCacheBytes: 1e6, traffic });
    });
    const wanted = [...blobs.values()].map((bytes) => ({ hash: hashBytes(bytes), bytes: bytes.length }));
    const fetched = await Promise.all(computers.flatMap((client) => wanted.map((ref) => client.get(ref))));
    expect(fetched).toHaveLength(1600);
    expect(refusals.counts).toEqual({});
  }, 60_000);
});
