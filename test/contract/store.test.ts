import { cp, mkdir, mkdtemp, open, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { apply } from "../../src/network/orchestrator/core/apply.ts";
import { createRun } from "../../src/network/orchestrator/core/state.ts";
import { EmbeddedStore } from "../../src/network/store/embedded-store.ts";
import { failureOf } from "../../src/protocol/failure.ts";
import { eventfulRun, replay, storeContract } from "./store.ts";

const file = "network.sqlite";
storeContract("the embedded store", (folder) => EmbeddedStore.open(join(folder, file)));
storeContract("the embedded store that forgets at once", (folder) =>
  EmbeddedStore.open(join(folder, file), { keptEvents: 0 }),
);

describe("the embedded store", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "embedded-store-"));
  });
  afterEach(() => rm(folder, { recursive: true }));

  const openIn = (name: string) => EmbeddedStore.open(join(folder, name, file));
  const codeOf = async (opening: Promise<EmbeddedStore>) =>
    failureOf(
      await opening.then(
        (store) => store.close(),
        (error) => error,
      ),
    )?.code;

  function change(path: string, statement: string): void {
    const database = new Database(path);
    database.exec(statement);
    database.close();
  }

  /** A store with a whole run in it, closed in good order. */
  async function writeRun(): Promise<string> {
    const path = join(folder, file);
    const store = await EmbeddedStore.open(path);
    const { events, state } = eventfulRun();
    const { runId } = state.definition;
    await store.commit({ runId, events, transfers: [], receipts: [], snapshot: state });
    await store.close();
    return path;
  }

  it("has after a kill, at any moment, exactly what was committed by then", async () => {
    const { events, state: last } = eventfulRun();
    const { definition } = last;
    const { runId } = definition;
    await mkdir(join(folder, "live"));
    const live = await openIn("live");
    let state = createRun(definition, events[0]?.atMs ?? 0);
    await live.commit({ runId, events: [], transfers: [], receipts: [], snapshot: state });
    for (const [index, event] of events.entries()) {
      state = apply(state, event).state;
      const snapshot = index % 11 === 10 ? state : null;
      await live.commit({ runId, events: [event], transfers: [], receipts: [], snapshot });
      // What a killed process leaves: its files as they are, with nobody to close them.
      const dead = `dead-${index}`;
      await cp(join(folder, "live"), join(folder, dead), { recursive: true });
      const survivor = await openIn(dead);
      const stored = await survivor.loadRun(runId);
      await survivor.close();
      expect(stored && replay(stored)).toEqual(state);
    }
    await live.close();
  });

  it("keeps a bounded number of events behind its snapshots", async () => {
    const path = join(folder, file);
    const store = await EmbeddedStore.open(path, { keptEvents: 20 });
    const { events, state } = eventfulRun();
    const { runId } = state.definition;
    for (const part of [events.slice(0, 10), events.slice(10, 30), events.slice(30)])
      await store.commit({ runId, events: part, transfers: [], receipts: [], snapshot: state });
    await store.close();
    const database = new Database(path, { readonly: true });
    const first = database.prepare("SELECT MIN(sequence) FROM events").pluck().get();
    database.close();
    // Twenty would do, but the older of the two kept snapshots lies behind event 30.
    expect(events.length).toBeGreaterThan(51);
    expect(first).toBe(31);
  });

  it("keeps the first snapshot while all events since are kept, so that they can be replayed", async () => {
    const store = await openIn("");
    const { events, state } = eventfulRun();
    const { runId } = state.definition;
    for (const part of [events.slice(0, 10), events.slice(10, 30), events.slice(30, 40), events.slice(40)])
      await store.commit({ runId, events: part, transfers: [], receipts: [], snapshot: state });
    const { snapshots } = await store.readLog(runId);
    await store.close();
    expect(snapshots.map(({ sequence }) => sequence)).toEqual([10, 40, events.length]);
  });

  it("drops a commit that was torn in the middle of being written, and no other", async () => {
    const { events, state } = eventfulRun();
    const { runId } = state.definition;
    const initial = createRun(state.definition, events[0]?.atMs ?? 0);
    await mkdir(join(folder, "live"));
    const store = await openIn("live");
    await store.commit({ runId, events: [], transfers: [], receipts: [], snapshot: initial });
    await store.commit({ runId, events: events.slice(0, 5), transfers: [], receipts: [], snapshot: null });
    const log = `${file}-wal`;
    const beforeBytes = (await readFile(join(folder, "live", log))).length;
    await store.commit({ runId, events: events.slice(5, 9), transfers: [], receipts: [], snapshot: null });
    await cp(join(folder, "live"), join(folder, "torn"), { recursive: true });
    await truncate(join(folder, "torn", log), beforeBytes + 1000);
    await store.close();
    const survivor = await openIn("torn");
    expect((await survivor.loadRun(runId))?.events).toEqual(events.slice(0, 5));
    await survivor.close();
  });

  it("notices damage anywhere in its log but the last commit, and takes the log as it was up to there for nothing else", async () => {
    const { events, state } = eventfulRun();
    const { runId } = state.definition;
    const initial = createRun(state.definition, events[0]?.atMs ?? 0);
    await mkdir(join(folder, "live"));
    const store = await openIn("live");
    await store.commit({ runId, events: [], transfers: [], receipts: [], snapshot: initial });
    for (const event of events.slice(0, 12))
      await store.commit({ runId, events: [event], transfers: [], receipts: [], snapshot: null });
    await cp(join(folder, "live"), join(folder, "dead"), { recursive: true });
    await store.close();
    const log = await readFile(join(folder, "dead", `${file}-wal`));
    const verdicts: string[] = [];
    for (let offset = 0; offset < log.length; offset += 997) {
      const damaged = Buffer.from(log);
      damaged.writeUInt8(damaged.readUInt8(offset) ^ 0x10, offset);
      await cp(join(folder, "dead"), join(folder, "harmed"), { recursive: true });
      await writeFile(join(folder, "harmed", `${file}-wal`), damaged);
      const opened = await openIn("harmed").catch(failureOf);
      if (!(opened instanceof EmbeddedStore)) verdicts.push(opened?.code ?? "a bug");
      else {
        verdicts.push(`${(await opened.loadRun(runId))?.events.length} of 12`);
        await opened.close();
      }
      await rm(join(folder, "harmed"), { recursive: true });
    }
    const firstPassed = verdicts.findIndex((verdict) => verdict !== "state-corrupt");
    expect(firstPassed).toBeGreaterThan(verdicts.length - 20);
    expect(new Set(verdicts.slice(0, firstPassed))).toEqual(new Set(["state-corrupt"]));
    expect(new Set(verdicts.slice(firstPassed))).toEqual(new Set(["11 of 12"]));
  });

  it("says that a damaged file is damaged", async () => {
    const path = await writeRun();
    const damaged = await open(path, "r+");
    await damaged.write(Buffer.alloc(20_000, 0xa5), 0, 20_000, 4096);
    await damaged.close();
    expect(await codeOf(EmbeddedStore.open(path))).toBe("state-corrupt");
  });

  it("says that a file cut short, or one that is no database, is damaged", async () => {
    const path = await writeRun();
    await truncate(path, 6000);
    expect(await codeOf(EmbeddedStore.open(path))).toBe("state-corrupt");
    await writeFile(path, "this was never a database, but it is long enough to have a header ".repeat(10));
    expect(await codeOf(EmbeddedStore.open(path))).toBe("state-corrupt");
  });

  it.each([
    ["an older", 1],
    ["a newer", 99],
  ])("refuses what %s version wrote instead of misreading it", async (which, version) => {
    const path = await writeRun();
    change(path, `PRAGMA user_version = ${version}`);
    const failure = await EmbeddedStore.open(path).catch(failureOf);
    expect(failure).toMatchObject({ code: "state-corrupt", message: expect.stringContaining(`${which} version`) });
    expect(failure).toMatchObject({ action: expect.stringContaining("another state folder") });
  });

  it.each([
    ["an event whose text changed", `UPDATE events SET body = replace(body, 'join', 'jojn') WHERE sequence = 3`],
    ["an event that is missing", "DELETE FROM events WHERE sequence = 3"],
    ["its only snapshot damaged", "UPDATE snapshots SET body = body || ' '"],
  ])("does not go on from %s", async (_, statement) => {
    const path = join(folder, file);
    const store = await EmbeddedStore.open(path);
    const { events, state } = eventfulRun();
    const { runId } = state.definition;
    const snapshot = createRun(state.definition, events[0]?.atMs ?? 0);
    await store.commit({ runId, events: [], transfers: [], receipts: [], snapshot });
    await store.commit({ runId, events, transfers: [], receipts: [], snapshot: null });
    await store.close();
    change(path, statement);
    const damaged = await EmbeddedStore.open(path);
    expect(await damaged.loadRun(runId).catch(failureOf)).toMatchObject({ code: "state-corrupt" });
    await damaged.close();
  });

  it("is opened by one process at a time", async () => {
    const path = await writeRun();
    const first = await EmbeddedStore.open(path);
    expect(await codeOf(EmbeddedStore.open(path))).toBe("already-running");
    await first.close();
  });
});
