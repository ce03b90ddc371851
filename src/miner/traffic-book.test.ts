import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runIdSchema } from "../protocol/ids.ts";
import { openStateDatabase, type StateDatabase } from "./store/state-database.ts";
import { TrafficBook } from "./traffic-book.ts";

const first = runIdSchema.parse("first");
const second = runIdSchema.parse("second");
const bytes = (sentBytes: number, receivedBytes: number) => ({ sentBytes, receivedBytes });

describe("the book of a miner's traffic", () => {
  let folder: string;
  let database: StateDatabase;
  let nowMs: number;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "traffic-book-"));
    database = openStateDatabase(folder);
    nowMs = 0;
  });
  afterEach(() => {
    database.close();
    rmSync(folder, { recursive: true });
  });
  const open = () => new TrafficBook(database, () => nowMs);

  it("gives each run what passed while the miner worked for it, and counts the rest in the total only", () => {
    const book = open();
    book.update(bytes(10, 20));
    book.assigned(first, bytes(11, 22));
    book.update(bytes(111, 222));
    book.assigned(second, bytes(211, 222));
    book.assigned(null, bytes(311, 232));
    book.update(bytes(312, 232));
    expect(book.view.total).toEqual(bytes(312, 232));
    expect(book.view.runs).toEqual([
      { runId: first, ...bytes(200, 200) },
      { runId: second, ...bytes(100, 10) },
    ]);
  });

  it("goes on where it stood after a restart of the daemon", () => {
    const before = open();
    before.assigned(first, bytes(0, 0));
    before.update(bytes(100, 50));
    before.store();
    database.close();
    database = openStateDatabase(folder);
    const after = open();
    expect(after.view).toMatchObject({ total: bytes(100, 50), runs: [{ runId: first, ...bytes(100, 50) }] });
    after.assigned(first, bytes(1, 1));
    after.update(bytes(6, 6));
    expect(after.view).toMatchObject({ total: bytes(106, 56), runs: [{ runId: first, ...bytes(105, 55) }] });
  });

  it("stores by itself every half minute", () => {
    const book = open();
    book.assigned(first, bytes(0, 0));
    nowMs = 31_000;
    book.update(bytes(7, 8));
    expect(database.traffic()).toContainEqual({ runId: first, ...bytes(7, 8) });
  });

  it("loses nothing when the disk is full for a while", () => {
    let full = true;
    const book = new TrafficBook(
      {
        traffic: () => database.traffic(),
        addTraffic(more) {
          if (full) throw new Error("no space is left");
          database.addTraffic(more);
        },
      },
      () => nowMs,
    );
    book.update(bytes(7, 8));
    expect(() => book.store()).toThrow("no space");
    full = false;
    book.store();
    expect(open().view.total).toEqual(bytes(7, 8));
  });

  it("says how much passes per second, over the last seconds", () => {
    const book = open();
    for (nowMs = 0; nowMs <= 60_000; nowMs += 500) book.update(bytes(nowMs < 30_000 ? 0 : nowMs - 30_000, 0));
    expect(book.view).toMatchObject({ sentBytesPerSecond: 1000, receivedBytesPerSecond: 0 });
  });
});
