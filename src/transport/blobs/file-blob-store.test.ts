import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { failureOf } from "../../protocol/failure.ts";
import { hashBytes } from "../../protocol/identity.ts";
import { FileBlobStore } from "./file-blob-store.ts";

const text = (content: string) => Buffer.from(content);
const codeOf = async (promise: Promise<unknown>) =>
  failureOf(
    await promise.then(
      () => undefined,
      (error) => error,
    ),
  )?.code;

describe("the network's blob store", () => {
  let folder: string;
  let store: FileBlobStore;
  const reopen = async () => FileBlobStore.open({ folder, maxBlobBytes: 100 });
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "blob-store-"));
    store = await reopen();
  });
  afterEach(() => rm(folder, { recursive: true }));

  it("gives back what was put, also after a restart", async () => {
    const ref = await store.put(text("hello"));
    expect(ref).toEqual({ hash: hashBytes(text("hello")), bytes: 5 });
    store = await reopen();
    expect(Buffer.from(await store.get(ref.hash)).toString()).toBe("hello");
    expect(store.bytesOf(ref.hash)).toBe(5);
  });

  it("streams a part", async () => {
    const { hash } = await store.put(text("hello world"));
    expect(Buffer.concat(await store.stream(hash, { start: 6, end: 10 }).toArray()).toString()).toBe("world");
  });

  it("stores the same bytes in whatever pieces they come", async () => {
    const pieceBytes = 256 << 10;
    const sizes = [1, 4000, pieceBytes - 4001, 1, pieceBytes, pieceBytes + 1, 3, 0, 2 * pieceBytes, 5];
    const chunks = sizes.map((bytes, index) => Buffer.alloc(bytes, index + 1));
    const whole = Buffer.concat(chunks);
    store.raiseLimit(whole.length);
    const { hash } = await store.receive(hashBytes(whole), chunks);
    expect(whole.equals(await store.get(hash))).toBe(true);
  });

  it("refuses bytes with another hash, too many bytes and a broken upload, and leaves nothing behind", async () => {
    const hash = hashBytes(text("expected"));
    expect(await codeOf(store.receive(hash, [text("something else")]))).toBe("blob-corrupt");
    expect(await codeOf(store.receive(hash, [Buffer.alloc(60), Buffer.alloc(60)]))).toBe("message-too-large");
    const broken = (async function* () {
      yield text("exp");
      throw new Error("connection lost");
    })();
    await expect(store.receive(hash, broken)).rejects.toThrow("connection lost");
    expect(await readdir(folder)).toEqual([]);
    expect(await codeOf(store.get(hash))).toBe("blob-not-found");
  });

  it("notices a file that was damaged on disk", async () => {
    const { hash } = await store.put(text("hello"));
    await writeFile(join(folder, hash), "hellO");
    expect(await codeOf(store.get(hash))).toBe("blob-corrupt");
    expect(store.bytesOf(hash)).toBeUndefined();
  });

  it("looks at what it finds at its start before it gives it away, and lets it be put again when it is damaged", async () => {
    const [whole, damaged, cut] = [
      await store.put(text("whole")),
      await store.put(text("damaged")),
      await store.put(text("cut")),
    ];
    await writeFile(join(folder, damaged.hash), "dAmaged");
    await writeFile(join(folder, cut.hash), "c");
    store = await reopen();
    expect(await Promise.all([whole, damaged, cut].map(({ hash }) => store.isIntact(hash)))).toEqual([
      true,
      false,
      false,
    ]);
    expect(await readdir(folder)).toEqual([whole.hash]);
    await store.put(text("damaged"));
    expect(await store.isIntact(damaged.hash)).toBe(true);
    store = await reopen();
    await writeFile(join(folder, damaged.hash), "dAmaged");
    await store.put(text("damaged"));
    expect(Buffer.from(await store.get(damaged.hash)).toString()).toBe("damaged");
  });

  it("clears away what an interrupted upload left", async () => {
    await writeFile(join(folder, "1234.part"), "half");
    store = await reopen();
    expect(await readdir(folder)).toEqual([]);
  });

  it("collects what nobody keeps or has used since the last collection", async () => {
    const kept = await store.put(text("kept"));
    const old = await store.put(text("old"));
    const asked = await store.put(text("asked"));
    const keep = new Set([kept.hash]);
    expect(await store.collect(keep)).toBe(0);
    store.bytesOf(asked.hash);
    const fresh = await store.put(text("fresh"));
    expect(await store.collect(keep)).toBe(1);
    expect(store.bytesOf(old.hash)).toBeUndefined();
    expect([kept, asked, fresh].map(({ hash }) => store.bytesOf(hash))).toEqual([4, 5, 5]);
    expect(await readdir(folder)).toHaveLength(3);
  });
});
