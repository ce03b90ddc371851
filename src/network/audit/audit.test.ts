import { appendFile, cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { failureOf } from "../../protocol/failure.ts";
import { createIdentity } from "../../protocol/identity.ts";
import { FileBlobStore } from "../../transport/blobs/file-blob-store.ts";
import { FakeSwarm, fakeDefinition, fakeHash } from "../orchestrator/core/fake-swarm.ts";
import { Orchestrator } from "../orchestrator/orchestrator.ts";
import { EmbeddedStore } from "../store/embedded-store.ts";
import { auditNetwork } from "./audit.ts";

describe("an audit of a network's state folder", () => {
  const identity = createIdentity();
  let folder: string;
  let database: string;
  let original: string;
  beforeAll(async () => {
    original = await mkdtemp(join(tmpdir(), "audit-original-"));
    await leaveNetwork(original);
  });
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "audit-"));
    database = join(folder, "network.sqlite");
    await cp(original, folder, { recursive: true });
  });
  afterEach(() => rm(folder, { recursive: true }));
  afterAll(() => rm(original, { recursive: true }));

  /** What a network leaves that trained two epochs: a log with snapshots, credits, and the blobs of its checkpoints. */
  async function leaveNetwork(stateFolder: string): Promise<void> {
    const swarm = new FakeSwarm();
    swarm.join(1, 2, 3, 4, 5, 6);
    for (let epoch = 0; epoch < 2; epoch++) {
      swarm.finishEpoch();
      swarm.finishUpload();
    }
    const store = await EmbeddedStore.open(join(stateFolder, "network.sqlite"));
    const orchestrator = await Orchestrator.open({
      store,
      identity,
      networkId: identity.minerId,
      definition: fakeDefinition(),
      clock: () => swarm.nowMs,
      log: () => undefined,
      onFailed: (error) => expect.fail(String(error)),
      snapshotInterval: 20,
    });
    for (const { atMs: _, ...event } of swarm.events) {
      orchestrator.submit(event);
      await orchestrator.settled();
    }
    await orchestrator.close();
    await store.close();
    const blobs = await FileBlobStore.open({ folder: join(stateFolder, "blobs"), maxBlobBytes: 1000 });
    const merged = [0, 1].flatMap((epoch) => [0, 1, 2].map((stage) => `merged ${stage} ${epoch} 0`));
    for (const text of ["manifest", "optimizer", ...merged]) await blobs.put(Buffer.from(text));
  }

  function change(statement: string): void {
    const file = new Database(database);
    expect(file.prepare(statement).run().changes).toBeGreaterThan(0);
    file.close();
  }

  const findings = async () => (await auditNetwork(folder)).findings;
  const latestSnapshot = "sequence = (SELECT MAX(sequence) FROM snapshots)";
  const lastEvent = "sequence = (SELECT MAX(sequence) FROM events)";

  it("finds nothing where nothing is wrong, says what it looked at, and changes nothing", async () => {
    const report = await auditNetwork(folder);
    expect(report.findings).toEqual([]);
    expect(report).toMatchObject({ ok: true, runs: [{ epoch: 2 }], transfers: 12, receipts: 12, blobs: 8 });
    expect(await auditNetwork(folder)).toEqual(report);
  });

  it.each([
    [
      "damaged",
      `UPDATE snapshots SET body = replace(body, '"epoch":1', '"epoch":7') WHERE ${latestSnapshot}`,
      "Nothing",
    ],
    ["lost for good", "UPDATE snapshots SET body = '{}'", "Restore"],
  ])("finds a snapshot that is %s", async (_, statement, action) => {
    change(statement);
    const [finding] = await findings();
    expect(finding).toMatchObject({ part: "log", what: expect.stringContaining("damaged") });
    expect(finding?.action).toContain(action);
  });

  it("finds an event that is damaged, and says that the state can no longer be known", async () => {
    change(`UPDATE events SET body = replace(body, '"atMs":1', '"atMs":2') WHERE ${lastEvent}`);
    const report = await auditNetwork(folder);
    expect(report.runs).toMatchObject([{ epoch: null }]);
    expect(report.findings).toMatchObject([{ part: "log", action: expect.stringContaining("Restore") }]);
  });

  it("finds an event that is missing among those that a later snapshot makes up for", async () => {
    change("DELETE FROM events WHERE sequence = 25");
    const report = await auditNetwork(folder);
    expect(report.runs).toMatchObject([{ epoch: 2 }]);
    expect(report.findings).toMatchObject([
      { part: "log", what: "test-run: event 25 is damaged or missing.", action: expect.stringContaining("Nothing") },
    ]);
  });

  it("finds a snapshot that its log does not lead to", async () => {
    const store = await EmbeddedStore.open(database);
    const state = new FakeSwarm().state;
    const { runId } = state.definition;
    await store.commit({ runId, events: [], transfers: [], receipts: [], snapshot: { ...state, tokens: 7 } });
    await store.close();
    expect(await findings()).toContainEqual({
      part: "log",
      what: expect.stringContaining("does not lead to the snapshot"),
      action: expect.stringContaining("bug"),
    });
  });

  it.each([
    ["that lost its signature", "UPDATE receipts SET signature = x'00' WHERE entry = 1", "signature"],
    [
      "for another amount",
      "UPDATE receipts SET body = replace(body, '\"stage\":0', '\"stage\":1') WHERE entry = 1",
      "",
    ],
    ["that was never entered", "DELETE FROM transfers WHERE entry = 3", "not entered"],
    ["that is there twice", "INSERT INTO receipts SELECT 99, miner_id, body, signature FROM receipts LIMIT 1", "twice"],
  ])("finds a receipt %s", async (_, statement, what) => {
    change(statement);
    expect(await findings()).toContainEqual(
      expect.objectContaining({ part: "receipts", what: expect.stringContaining(what) }),
    );
  });

  it.each([
    ["a credit without its receipt", "DELETE FROM receipts WHERE entry = 5", "no receipt"],
    ["an amount that was changed", "UPDATE transfers SET micro_credits = 1 WHERE entry = 1", "not the sum"],
  ])("finds %s in the ledger", async (_, statement, what) => {
    change(statement);
    expect(await findings()).toContainEqual(
      expect.objectContaining({ part: "ledger", what: expect.stringContaining(what) }),
    );
  });

  it("finds blobs that are damaged or missing, and says what they were for", async () => {
    await appendFile(join(folder, "blobs", fakeHash("merged 1 1 0")), "!");
    await rm(join(folder, "blobs", fakeHash("manifest")));
    expect(await findings()).toMatchObject([
      { part: "blobs", what: expect.stringMatching(/dataset of test-run is missing/) },
      { part: "blobs", what: expect.stringMatching(/checkpoint 2 of test-run is damaged/) },
    ]);
  });

  it("says that there is no network, that it runs, or that nothing can be read", async () => {
    const codeOf = async (path: string) => failureOf(await auditNetwork(path).catch((error: unknown) => error))?.code;
    expect(await codeOf(join(folder, "elsewhere"))).toBe("not-found");
    const running = await EmbeddedStore.open(database);
    expect(await codeOf(folder)).toBe("already-running");
    await running.close();
    await writeFile(database, "never a database ".repeat(100));
    expect(await codeOf(folder)).toBe("state-corrupt");
  });
});
