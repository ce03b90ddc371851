/** Blobs that come from peers, in several attempts: each goes on where the one before broke off. */
import { once } from "node:events";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeClock } from "../miner/session/fake-clock.ts";
import { FailureError, failureOf } from "../protocol/failure.ts";
import { hashBytes } from "../protocol/identity.ts";
import { type MinerId, minerIdSchema } from "../protocol/ids.ts";
import { maxPartBytes } from "./blob-serving.ts";
import { BlobClient } from "./blobs/blob-client.ts";
import { PartialDownload } from "./blobs/partial-download.ts";
import { MemoryNetwork } from "./memory-link.ts";
import { PeerBlobs } from "./peer-blobs.ts";
import { Traffic } from "./traffic/traffic.ts";

const state = Uint8Array.from({ length: 6 * maxPartBytes + 17 }, (_, index) => (index * 31 + (index >> 9) * 7) & 0xff);
const ref = { hash: hashBytes(state), bytes: state.length };
const clock = new FakeClock();

describe("a download from peers", () => {
  let folder: string;
  let store: Server;
  /** What was asked of the store, and whether it has the blob. */
  let ranges: (string | undefined)[];
  let isStored: boolean;
  let network: MemoryNetwork;
  let asker: PeerBlobs;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "resumed-blobs-"));
    ranges = [];
    isStored = false;
    network = new MemoryNetwork();
    store = createServer(({ headers: { range } }, response) => {
      ranges.push(range);
      const from = Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? 0);
      if (!isStored) response.writeHead(404).end();
      else response.writeHead(from > 0 ? 206 : 200).end(state.subarray(from));
    }).listen(0, "127.0.0.1");
    await once(store, "listening");
    asker = peer(99).blobs;
  });

  afterEach(async () => {
    store.closeAllConnections();
    store.close();
    await rm(folder, { recursive: true });
  });

  function peer(index: number): { readonly id: MinerId; readonly blobs: PeerBlobs } {
    const id = minerIdSchema.parse(index.toString(16).padStart(64, "0"));
    const blobs = new PeerBlobs({ clock, dropped: () => undefined });
    const link = network.link(id);
    link.onMessage((message) => blobs.receive(message));
    blobs.connected(link);
    return { id, blobs };
  }

  /** Has the bytes from `from` to `to` only; `served` is how many it was asked for. */
  function holder(index: number, from: number, to: number) {
    const { id, blobs } = peer(index);
    const holding = { id, served: 0 };
    blobs.offerSource(ref.hash, {
      bytes: state.length,
      read: (offset, length) => {
        if (offset < from || offset >= to) throw new FailureError("blob-not-found", "It is not here.");
        holding.served += length;
        return state.subarray(offset, offset + length);
      },
    });
    return holding;
  }

  /** As after a start of the daemon: nothing is known but what lies in the folder. */
  function get(...holders: readonly MinerId[]): Promise<Uint8Array> {
    const client = new BlobClient({
      url: `http://127.0.0.1:${(store.address() as AddressInfo).port}`,
      token: () => "secret",
      cacheFolder: folder,
      maxCacheBytes: 1e9,
      pausesMs: [],
      traffic: new Traffic({ nowMs: () => 0, after: () => () => undefined }),
    });
    return client.get(ref, { elsewhere: (partial) => asker.get(ref, holders, { partial }) });
  }

  const codeOf = (call: Promise<unknown>) => call.then(String, (error) => failureOf(error)?.code);
  const isState = (bytes: Uint8Array) => expect(Buffer.compare(bytes, state)).toBe(0);
  const partial = () => join(folder, `${ref.hash}.part`);

  it("goes on from another one, after a new start too, and is then at hand", async () => {
    const first = holder(1, 0, 2 * maxPartBytes);
    expect(await codeOf(get(first.id))).toBe("blob-not-found");
    const second = holder(2, 2 * maxPartBytes, state.length);
    isState(await get(second.id));
    expect([first.served, second.served]).toEqual([2 * maxPartBytes, state.length - 2 * maxPartBytes]);
    isState(await get());
    expect(await readdir(folder)).toEqual([ref.hash]);
  });

  it("goes on from the store when peers have no more of it", async () => {
    isStored = true;
    isState(await get(holder(1, 0, 3 * maxPartBytes).id));
    expect(ranges).toEqual([`bytes=${3 * maxPartBytes}-`]);
  });

  it("goes on behind what came from the store, wherever that broke off", async () => {
    await writeFile(partial(), state.subarray(0, 4 * maxPartBytes + 1));
    const rest = holder(1, 4 * maxPartBytes, state.length);
    isState(await get(rest.id));
    expect(rest.served).toBe(2 * maxPartBytes + 17);
    expect(await readdir(folder)).toEqual([ref.hash]);
  });

  it("begins anew when what was kept is wrong, or longer than it can be", async () => {
    await writeFile(partial(), new Uint8Array(2 * maxPartBytes));
    isState(await get(holder(1, 0, state.length).id));
    await rm(join(folder, ref.hash));
    await writeFile(partial(), new Uint8Array(state.length + 1));
    isState(await get(holder(2, 0, state.length).id));
    expect(await readdir(folder)).toEqual([ref.hash]);
  });

  it("that was whole when the daemon ended is looked over, and done", async () => {
    await writeFile(partial(), state);
    isState(await get(holder(1, state.length, 0).id));
    expect(await readdir(folder)).toEqual([ref.hash]);
  });

  it("does without the disk where that takes no more", async () => {
    const kept: number[] = [];
    const full = new PartialDownload(
      {
        readPartial: async () => new Uint8Array(0),
        append: async (_, { length }) => {
          if (kept.length === 2) throw new FailureError("disk-full", "The disk is full.");
          kept.push(length);
        },
        dropPartial: async () => void kept.push(0),
        finish: async () => expect.unreachable(),
      },
      ref,
    );
    isState(await asker.get(ref, [holder(1, 0, state.length).id], { partial: full }));
    await full.finish(() => false);
    expect(kept).toEqual([maxPartBytes, maxPartBytes, 0]);
  });
});
