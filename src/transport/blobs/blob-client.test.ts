import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, rm, stat, truncate, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { failureOf } from "../../protocol/failure.ts";
import { hashBytes } from "../../protocol/identity.ts";
import { memorySource } from "../blob-serving.ts";
import { Traffic } from "../traffic/traffic.ts";
import { BlobClient, type BlobClientOptions } from "./blob-client.ts";

const bytes = Uint8Array.from({ length: 300_000 }, (_, index) => (index * 7919) >> 3);
const ref = { hash: hashBytes(bytes), bytes: bytes.length };

/** Nothing is limited here, so that nothing waits. */
const clock = { nowMs: () => 0, after: () => () => {} };

describe("a blob client", () => {
  let folder: string;
  let server: Server;
  let requests: string[];
  /** What the store does with the next requests, in turn; afterwards it behaves. */
  let misbehaviours: ((response: ServerResponse, body: Uint8Array) => void)[];
  let stored: Map<string, Uint8Array>;
  let refusedPuts: number;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "blob-client-"));
    requests = [];
    misbehaviours = [];
    refusedPuts = 0;
    stored = new Map([[ref.hash, bytes]]);
    server = createServer((request, response) => void answer(request, response)).listen(0, "127.0.0.1");
    await once(server, "listening");
  });
  afterEach(async () => {
    server.closeAllConnections();
    server.close();
    await rm(folder, { recursive: true });
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    requests.push(`${request.method} ${request.headers.range ?? ""}`.trim());
    const hash = request.url?.slice("/blobs/".length) ?? "";
    if (request.headers.authorization !== "Bearer secret") return void response.writeHead(401).end();
    if (request.method === "PUT") {
      const body = await buffer(request).catch(() => null);
      if (body === null) return; // it broke off
      if (refusedPuts-- > 0) return void response.writeHead(507).end();
      const isRight = createHash("sha256").update(body).digest("hex") === hash;
      if (isRight) stored.set(hash, body);
      return void response.writeHead(isRight ? 201 : 422).end();
    }
    const body = stored.get(hash);
    if (body === undefined) return void response.writeHead(404).end();
    if (request.method === "HEAD") return void response.writeHead(200).end();
    const misbehaviour = misbehaviours.shift();
    if (misbehaviour !== undefined) return misbehaviour(response, body);
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
    response.writeHead(from > 0 ? 206 : 200).end(body.subarray(from));
  }

  const client = (options: Partial<BlobClientOptions> = {}) =>
    new BlobClient({
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      token: () => "secret",
      cacheFolder: join(folder, "cache"),
      maxCacheBytes: 1e9,
      pausesMs: [0, 0, 0],
      traffic: new Traffic(clock),
      ...options,
    });
  const put = (to: BlobClient, bytes: Uint8Array, signal?: AbortSignal) =>
    to.put({ hash: hashBytes(bytes), bytes: bytes.length }, memorySource(bytes), signal && { signal });
  const same = (a: Uint8Array, b: Uint8Array) => expect(Buffer.from(a).equals(b)).toBe(true);
  async function cachedBytes(): Promise<number> {
    const names = await readdir(join(folder, "cache"));
    const sizes = await Promise.all(names.map(async (name) => (await stat(join(folder, "cache", name))).size));
    return sizes.reduce((sum, size) => sum + size, 0);
  }
  const codeOf = (call: Promise<unknown>) =>
    call.then(
      () => "fine",
      (error) => failureOf(error)?.code,
    );

  it("fetches a blob once and then has it", async () => {
    same(await client().get(ref), bytes);
    same(await client().get(ref), bytes);
    expect(requests).toEqual(["GET"]);
  });

  it("keeps what is at hand, and reads it in parts until it is forgotten", async () => {
    const kept = await client().keep(bytes);
    expect(kept.ref).toEqual(ref);
    same(await kept.source.read(3, 5), bytes.subarray(3, 8));
    same(await client().get(ref), bytes);
    expect(requests).toEqual([]);
    await client().forget([ref.hash]);
    await expect(kept.source.read(0, 1)).rejects.toMatchObject({ failure: { code: "blob-not-found" } });
  });

  it("says how much of a blob it has", async () => {
    expect(await client().bytesHere(ref)).toBe(0);
    await client().get(ref);
    expect(await client().bytesHere(ref)).toBe(bytes.length);
    await rm(join(folder, "cache", ref.hash));
    await writeFile(join(folder, "cache", `${ref.hash}.part`), bytes.subarray(0, 1000));
    expect(await client().bytesHere(ref)).toBe(1000);
    await writeFile(join(folder, "cache", `${ref.hash}.part`), bytes);
    expect(await client().bytesHere(ref)).toBe(bytes.length);
    expect(await client().bytesHere(ref)).toBe(bytes.length);
  });

  it("says what is wrong where nothing can be written", async () => {
    await writeFile(join(folder, "cache"), "a file in the place of the folder");
    expect(await codeOf(client().keep(bytes))).toBe("file-unreadable");
    expect(await codeOf(client().hold(bytes))).toBe("file-unreadable");
  });

  it("writes once what it is to keep several times at once", async () => {
    const one = client();
    const kept = await Promise.all([one.keep(bytes), one.hold(bytes), one.keep(bytes)]);
    for (const { source } of kept) same(await source.read(0, bytes.length), bytes);
    expect(await readdir(join(folder, "cache"))).toEqual([ref.hash]);
  });

  it("forgets nothing that is held, however large it is, before it is released", async () => {
    const small = client({ maxCacheBytes: 250_000 });
    const held = [await small.hold(bytes), await small.hold(bytes.map((byte) => byte ^ 1))];
    const kept = await small.keep(new Uint8Array(200_000));
    for (const { ref, source } of [...held, kept]) expect(await source.read(0, ref.bytes)).toHaveLength(ref.bytes);
    for (const { release } of held) release();
    await small.keep(new Uint8Array(10));
    expect(await cachedBytes()).toBeLessThanOrEqual(250_000);
  });

  it("makes room before it downloads, of half downloads as well, though none is ever finished", async () => {
    await mkdir(join(folder, "cache"));
    for (const salt of [1, 2])
      await writeFile(join(folder, "cache", `${hashBytes(Uint8Array.of(salt))}.part`), new Uint8Array(200_000));
    const missing = { hash: hashBytes(Uint8Array.of(3)), bytes: 1 };
    expect(await codeOf(client({ maxCacheBytes: 250_000 }).get(missing))).toBe("blob-not-found");
    expect(await cachedBytes()).toBe(200_000);
  });

  it("shares one download between several askers", async () => {
    const one = client();
    for (const got of await Promise.all([one.get(ref), one.get(ref), one.get(ref)])) same(got, bytes);
    expect(requests).toEqual(["GET"]);
  });

  it("goes on where a download broke off", async () => {
    misbehaviours.push((response, body) => {
      response.writeHead(200, { "content-length": body.length });
      response.write(body.subarray(0, 100_000), () => response.destroy());
    });
    same(await client().get(ref), bytes);
    expect(requests).toHaveLength(2);
    expect(requests[1]).toMatch(/^GET bytes=\d+-$/);
  });

  it("tries again after wrong bytes, too many bytes and a store that is out of order", async () => {
    misbehaviours.push(
      (response, body) => void response.writeHead(200).end(new Uint8Array(body.length)),
      (response, body) => void response.writeHead(200).end(Buffer.concat([body, body])),
      (response) => void response.writeHead(500).end(),
    );
    same(await client().get(ref), bytes);
  });

  it("fetches again what was damaged on the disk", async () => {
    await client().get(ref);
    await writeFile(join(folder, "cache", ref.hash), "damaged");
    same(await client().get(ref), bytes);
    expect(requests).toEqual(["GET", "GET"]);
  });

  it("stores a blob under its hash, unless the store has it", async () => {
    const own = new TextEncoder().encode("a contribution");
    await put(client(), own);
    same(stored.get(hashBytes(own)) ?? new Uint8Array(), own);
    await put(client(), own);
    expect(requests).toEqual(["HEAD", "PUT", "HEAD"]);
  });

  it("stores what lies on the disk piece by piece, as it is sent", async () => {
    const large = Uint8Array.from({ length: 3_000_000 }, (_, index) => (index * 7919) >> 3);
    const { ref, source } = await client().keep(large);
    const pieces: number[] = [];
    const read = (offset: number, length: number) => {
      pieces.push(length);
      return source.read(offset, length);
    };
    await client().put(ref, { bytes: ref.bytes, read });
    same(stored.get(ref.hash) ?? new Uint8Array(), large);
    expect(Math.max(...pieces)).toBeLessThanOrEqual(256 << 10);
    expect(pieces.reduce((sum, length) => sum + length)).toBe(large.length);
  });

  it.each([
    ["was changed", (path: string) => writeFile(path, new Uint8Array(bytes.length))],
    ["was cut short", (path: string) => truncate(path, 100_000)],
    ["is gone", (path: string) => rm(path)],
    ["cannot be read", (path: string) => rm(path).then(() => mkdir(path))],
  ])("does not store a file that %s", async (_, harm) => {
    const { ref, source } = await client().keep(Uint8Array.from(bytes, (byte) => byte ^ 1));
    await harm(join(folder, "cache", ref.hash));
    expect(await codeOf(client().put(ref, source))).toBe("blob-not-found");
    expect([...stored.keys()]).toEqual([hashBytes(bytes)]);
    expect(requests.filter((request) => request === "PUT").length).toBeLessThanOrEqual(1);
  });

  it("forgets nothing that is being stored, however full the cache is", async () => {
    const small = client({ maxCacheBytes: 250_000 });
    const { ref, source } = await small.keep(Uint8Array.from(bytes, (byte) => byte ^ 1));
    const read = async (offset: number, length: number) => {
      if (offset === 0) await small.keep(new Uint8Array(200_000));
      return source.read(offset, length);
    };
    await small.put(ref, { bytes: ref.bytes, read });
    expect([...stored.keys()]).toContain(ref.hash);
  });

  it("waits for a store whose disk is full, as long as its caller does", async () => {
    refusedPuts = 10;
    const own = new TextEncoder().encode("a checkpoint");
    await put(client(), own);
    same(stored.get(hashBytes(own)) ?? new Uint8Array(), own);
    refusedPuts = Number.POSITIVE_INFINITY;
    const patience = new AbortController();
    const waiting = codeOf(put(client(), new Uint8Array(3), patience.signal));
    await vi.waitUntil(() => requests.length > 40, { timeout: 20_000 });
    patience.abort();
    expect(await waiting).toBe("cancelled");
  });

  it("waits for a gateway that is busy, as long as it says, until it is cancelled", async () => {
    const busy = (response: ServerResponse) => void response.writeHead(429, { "retry-after": "0" }).end();
    misbehaviours = Array<typeof busy>(10).fill(busy);
    same(await client().get(ref), bytes);
    expect(requests).toHaveLength(11);
    await rm(join(folder, "cache"), { recursive: true });
    misbehaviours = [(response) => void response.writeHead(429, { "retry-after": "3600" }).end()];
    const patience = new AbortController();
    const waiting = codeOf(client().get(ref, { signal: patience.signal }));
    await vi.waitUntil(() => requests.length === 12);
    patience.abort();
    expect(await waiting).toBe("cancelled");
  });

  it("waits a while for a busy gateway that says it need not", async () => {
    misbehaviours = [(response) => void response.writeHead(429, { "retry-after": "0" }).end()];
    const patience = new AbortController();
    const waiting = codeOf(client({ pausesMs: [3_600_000] }).get(ref, { signal: patience.signal }));
    await vi.waitUntil(() => requests.length === 1);
    for (const number of [1, 2, 3]) await put(client(), Uint8Array.of(number));
    expect(requests.filter((request) => request === "GET")).toHaveLength(1);
    patience.abort();
    expect(await waiting).toBe("cancelled");
  });

  /** Two downloads, which are all that there may be at a time, until `goOn`. */
  async function fullOfDownloads(full: BlobClient) {
    const held: ServerResponse[] = [];
    misbehaviours = Array.from({ length: 2 }, () => (response: ServerResponse) => void held.push(response));
    const others = [1, 2].map((number) => Uint8Array.of(number));
    for (const other of others) stored.set(hashBytes(other), other);
    const downloads = Promise.all(others.map((other) => full.get({ hash: hashBytes(other), bytes: 1 })));
    await vi.waitUntil(() => held.length === 2);
    async function goOn(): Promise<void> {
      for (const response of held) response.end(stored.get((response.req.url ?? "").slice("/blobs/".length)));
      await downloads;
    }
    return goOn;
  }

  it("has few requests under way at a time, and calls off those that wait", async () => {
    const one = client();
    const goOn = await fullOfDownloads(one);
    const patience = new AbortController();
    const { signal } = patience;
    const cancelled = codeOf(one.get({ hash: hashBytes(Uint8Array.of(3)), bytes: 1 }, { signal }));
    const last = one.get(ref);
    patience.abort();
    expect(await cancelled).toBe("cancelled");
    expect(requests).toEqual(["GET", "GET"]);
    await goOn();
    same(await last, bytes);
  });

  it("opens the store with the token of the session that there is when a request's turn comes", async () => {
    let token = "secret";
    const one = client({ token: () => token });
    const goOn = await fullOfDownloads(one);
    token = "of a session that is over";
    const waiting = one.get(ref);
    for (const number of [1, 2, 3]) await put(client(), Uint8Array.of(number));
    token = "secret";
    await goOn();
    same(await waiting, bytes);
  });

  it("stores while downloads take all the turns that they have", async () => {
    const one = client();
    const goOn = await fullOfDownloads(one);
    await put(one, Uint8Array.of(3));
    expect(requests).toEqual(["GET", "GET", "HEAD", "PUT"]);
    await goOn();
  });

  it("says what is wrong where trying again is of no use", async () => {
    expect(await codeOf(client().get({ hash: hashBytes(new Uint8Array(1)), bytes: 1 }))).toBe("blob-not-found");
    expect(await codeOf(client({ token: () => "wrong" }).get(ref))).toBe("not-authorised");
    expect(await codeOf(client().get(ref, { signal: AbortSignal.abort() }))).toBe("cancelled");
    expect(requests).toHaveLength(2);
  });

  it("gives up when the store stays away", async () => {
    const lonely = client();
    server.closeAllConnections();
    server.close();
    await once(server, "close");
    expect(await codeOf(lonely.get(ref))).toBe("unreachable");
  });

  it("forgets nothing that is being downloaded, however full the cache is", async () => {
    const small = client({ maxCacheBytes: 250_000 });
    let goOn = () => {};
    const half = new Promise<void>((halfWay) => {
      misbehaviours.push((response, body) => {
        response.writeHead(200, { "content-length": body.length });
        response.write(body.subarray(0, 100_000));
        goOn = () => response.end(body.subarray(100_000));
        halfWay();
      });
    });
    const first = small.get(ref);
    await half;
    const partial = join(folder, "cache", `${ref.hash}.part`);
    await vi.waitUntil(async () => (await stat(partial).catch(() => null))?.size === 100_000);
    const other = Uint8Array.from({ length: 200_000 }, (_, index) => index % 251);
    stored.set(hashBytes(other), other);
    await small.get({ hash: hashBytes(other), bytes: other.length });
    expect((await stat(partial)).size).toBe(100_000);
    goOn();
    same(await first, bytes);
    expect(requests).toHaveLength(2);
  });

  it("keeps the cache within its limit by forgetting the oldest", async () => {
    const small = client({ maxCacheBytes: 400_000 });
    await small.get(ref);
    const other = Uint8Array.from({ length: 200_000 }, (_, index) => index % 251);
    stored.set(hashBytes(other), other);
    await small.get({ hash: hashBytes(other), bytes: other.length });
    expect(await readdir(join(folder, "cache"))).toEqual([hashBytes(other)]);
  });
});
