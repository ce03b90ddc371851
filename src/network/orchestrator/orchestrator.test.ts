import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { FailureError } from "../../protocol/failure.ts";
import { createIdentity, verifySignature } from "../../protocol/identity.ts";
import { receiptBytes } from "../../protocol/receipt.ts";
import { accounts } from "../ledger/ledger.ts";
import { EmbeddedStore } from "../store/embedded-store.ts";
import type { SignedReceipt, Store, StoredRun } from "../store/store.ts";
import { apply } from "./core/apply.ts";
import { FakeSwarm, fakeDefinition, fakeMiner, fakeStartMs } from "./core/fake-swarm.ts";
import { nextDeadlineMs } from "./core/state.ts";
import { Orchestrator, type OrchestratorOptions } from "./orchestrator.ts";

const hourMs = 3_600_000;

describe("the orchestrator", () => {
  let folder: string;
  let store: EmbeddedStore;
  let nowMs: number;
  const identity = createIdentity();
  const failures: unknown[] = [];
  const opened: Orchestrator[] = [];
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "orchestrator-"));
    store = await EmbeddedStore.open(join(folder, "network.sqlite"));
    nowMs = fakeStartMs;
  });
  afterEach(async () => {
    for (const orchestrator of opened.splice(0)) await orchestrator.close();
    await store.close();
    await rm(folder, { recursive: true });
    expect(failures.splice(0)).toEqual([]);
  });

  const open = async (options: Partial<OrchestratorOptions> = {}) => {
    const orchestrator = await Orchestrator.open({
      store,
      identity,
      networkId: identity.minerId,
      definition: fakeDefinition(),
      clock: () => nowMs,
      log: () => undefined,
      onFailed: (error) => failures.push(error),
      snapshotInterval: 10,
      ...options,
    });
    opened.push(orchestrator);
    return orchestrator;
  };

  /** The store, but for its commits. */
  const withCommit = (commit: Store["commit"]) =>
    ({ loadRun: (runId) => store.loadRun(runId), commit }) satisfies Partial<Store> as Partial<Store> as Store;

  const replay = ({ snapshot, events }: StoredRun) =>
    events.reduce((state, event) => apply(state, event).state, snapshot);

  /** Feeds it what the miners of a run of `epochs` epochs say, and the first half of one more. */
  async function train(orchestrator: Orchestrator, epochs: number): Promise<FakeSwarm> {
    const swarm = new FakeSwarm();
    swarm.join(1, 2, 3, 4, 5, 6);
    for (let epoch = 0; epoch < epochs; epoch++) {
      swarm.finishEpoch();
      swarm.finishUpload();
    }
    swarm.reach("training");
    for (const { atMs, ...event } of swarm.events) {
      nowMs = atMs;
      orchestrator.submit(event);
    }
    await orchestrator.settled();
    expect(orchestrator.state).toEqual(swarm.state);
    return swarm;
  }

  it("killed at any moment, goes on from its log: nothing credited is lost, and the epoch waits for its miners to come back", async () => {
    const { state } = await train(await open(), 2);
    const next = await open();
    expect(next.state).toMatchObject({ epoch: 2, attempt: 0, phase: { name: "training" } });
    expect(next.state.away.map(({ minerId }) => minerId)).toEqual(state.members.map(({ minerId }) => minerId));
    expect([next.state.tokens, next.state.credits, next.state.checkpoint]).toEqual([
      state.tokens,
      state.credits,
      state.checkpoint,
    ]);
  });

  it.each(["before", "after"] as const)(
    "that dies just %s a commit, whichever it is, has said nothing that is not kept",
    async (when) => {
      const said: SignedReceipt[] = [];
      await open().then((orchestrator) => orchestrator.close());
      for (let fatal = 1; fatal < 50; fatal += 4) {
        let commits = 0;
        const commit: Store["commit"] = async (one) => {
          const dies = commits++ === fatal;
          if (dies && when === "before") throw new Error("killed");
          await store.commit(one);
          if (dies) throw new Error("killed");
        };
        const stored = await store.loadRun(fakeDefinition().runId);
        const orchestrator = await open({ store: withCommit(commit), snapshotInterval: 7 });
        orchestrator.listen({ receipt: (receipt) => said.push(receipt) });
        expect(orchestrator.state).toEqual(stored && apply(replay(stored), { type: "restarted", atMs: nowMs }).state);
        while (failures.length === 0) {
          const swarm = new FakeSwarm();
          swarm.state = orchestrator.state;
          swarm.nowMs = nowMs;
          swarm.join(1, 2, 3, 4, 5, 6);
          swarm.finishEpoch();
          swarm.finishUpload();
          for (const { atMs, ...event } of swarm.events) {
            nowMs = atMs;
            orchestrator.submit(event);
            await orchestrator.settled();
          }
        }
        expect(failures.splice(0)).toEqual([new Error("killed")]);
        expect(await store.receipts()).toEqual(expect.arrayContaining(said));
      }
      expect(said.length).toBeGreaterThan(20);
    },
  );

  it("makes up for a damaged snapshot from the one before it and the log, says so, and writes a new one", async () => {
    const { state } = await train(await open(), 2);
    await store.close();
    const path = join(folder, "network.sqlite");
    const database = new Database(path);
    const damage = "UPDATE snapshots SET body = replace(body, 'epoch', 'hcope') WHERE sequence = ?";
    const latest = database.prepare("SELECT MAX(sequence) FROM snapshots").pluck().get();
    database.prepare(damage).run(latest);
    database.close();
    store = await EmbeddedStore.open(path);
    const { runId } = state.definition;
    expect(await store.loadRun(runId)).toMatchObject({ damagedSnapshots: 1 });
    const next = await open();
    expect([next.state.tokens, next.state.checkpoint]).toEqual([state.tokens, state.checkpoint]);
    expect(next.state.log.at(-1)).toMatchObject({ level: "error", text: expect.stringContaining("snapshot was") });
    expect(await store.loadRun(runId)).toMatchObject({ snapshot: next.state, events: [], damagedSnapshots: 0 });
    const { snapshots } = await store.readLog(runId);
    expect(snapshots.map(({ value }) => value === null)).toEqual([false, false]);
  });

  it("enters every credit in the ledger and signs a receipt for it", async () => {
    const orchestrator = await open();
    const receipts: SignedReceipt[] = [];
    orchestrator.listen({ receipt: (receipt) => receipts.push(receipt) });
    const { state } = await train(orchestrator, 2);
    expect(receipts).toHaveLength(12);
    for (const { receipt, signature } of receipts)
      expect(verifySignature(identity.minerId, receiptBytes(receipt), signature)).toBe(true);
    const balances = await store.balances();
    for (const index of [1, 2, 3, 4, 5, 6])
      expect(balances.get(accounts.payable(fakeMiner(index)))).toBe(BigInt(state.credits[fakeMiner(index)] ?? -1));
    expect(await store.receipts(fakeMiner(1))).toEqual(
      receipts.filter(({ receipt }) => receipt.minerId === fakeMiner(1)),
    );
  });

  it("says nothing to anybody before it is written down", async () => {
    const written: number[] = [];
    const orchestrator = await open({
      store: withCommit(async (commit) => {
        await store.commit(commit);
        written.push(commit.events.length);
      }),
    });
    const order: string[] = [];
    orchestrator.listen({
      send: (_to, { type }) => order.push(`${type} after ${written.reduce((sum, count) => sum + count, 0)} events`),
    });
    await train(orchestrator, 0);
    expect(order[0]).toBe("idle after 12 events");
  });

  it("feeds itself the deadline when its time has come", async () => {
    const timeouts = {
      gatherMs: 1,
      prepareMs: 1,
      epochMs: 1,
      uploadMs: 1,
      mergeMs: 1,
      graceMs: 1,
      restartGraceMs: 1,
    };
    const orchestrator = await open({ definition: fakeDefinition({ timeouts }) });
    const prepared = new Promise<void>((resolve) => {
      orchestrator.listen({ send: (_to, { type }) => (type === "prepare" ? resolve() : undefined) });
    });
    const swarm = new FakeSwarm();
    swarm.join(1, 2, 3);
    for (const { atMs: _, ...event } of swarm.events) orchestrator.submit(event);
    await orchestrator.settled();
    expect(nextDeadlineMs(orchestrator.state)).toBe(nowMs + 1);
    nowMs += 1;
    await prepared;
    await orchestrator.close();
  });

  it("stands still while the disk is full, says so, and then goes on with everything that came meanwhile", async () => {
    let full = true;
    const commit: Store["commit"] = (one) =>
      full ? Promise.reject(new FailureError("disk-full", "no space")) : store.commit(one);
    await open().then((orchestrator) => orchestrator.close());
    const logged: string[] = [];
    const opening = open({ store: withCommit(commit), log: (text) => logged.push(text), diskFullPauseMs: 1 });
    await vi.waitUntil(() => logged.length > 0);
    full = false;
    const orchestrator = await opening;
    full = true;
    const stood = new Promise<string>((resolve) => orchestrator.listen({ stoodStill: resolve }));
    const sent: string[] = [];
    orchestrator.listen({ send: (_to, { type }) => sent.push(type) });
    const swarm = new FakeSwarm();
    swarm.join(1, 2, 3, 4, 5, 6);
    for (const { atMs: _, ...event } of swarm.events) orchestrator.submit(event);
    expect(await stood).toContain("disk is full");
    expect(sent).toEqual([]);
    full = false;
    await orchestrator.settled();
    expect(sent).toContain("prepare");
    expect(logged.filter((text) => text.includes("space again"))).toHaveLength(4);
  });

  it("lets time go on in the log where it stopped, after the computer's clock was set back", async () => {
    const { state } = await train(await open(), 1);
    const lastMs = nowMs;
    nowMs -= 5 * hourMs;
    const next = await open();
    nowMs += 60_000;
    next.submit({ type: "noted", level: "info", text: "a minute later" });
    await next.settled();
    const times = next.state.log.filter(({ sequence }) => sequence >= state.nextLogSequence).map(({ atMs }) => atMs);
    expect(times).toEqual([lastMs, lastMs + 60_000]);
    nowMs = lastMs + 120_000;
    expect((await open()).state.log.at(-1)?.atMs).toBe(lastMs + 120_000);
  });

  it("holds nobody to deadlines that passed while it was away, however far the clock went ahead", async () => {
    await train(await open(), 1);
    nowMs += 10_000 * hourMs;
    const next = await open();
    const swarm = new FakeSwarm();
    swarm.join(1, 2, 3, 4, 5, 6);
    for (const { atMs: _, ...event } of swarm.events) next.submit(event);
    next.submit({ type: "deadline" });
    await next.settled();
    expect(next.state.members.map(({ unreliable }) => unreliable)).toEqual(Array(6).fill(false));
    expect(nextDeadlineMs(next.state)).toBeGreaterThan(nowMs);
    await next.close();
  });

  it("gives up, and says why, when its log can no longer be written", async () => {
    const broken = withCommit(() => Promise.reject(new FailureError("state-corrupt", "the file is damaged")));
    await open().then((orchestrator) => orchestrator.close());
    const orchestrator = await open({ store: broken });
    const before = orchestrator.state;
    expect(failures.splice(0)).toEqual([new FailureError("state-corrupt", "the file is damaged")]);
    orchestrator.submit({ type: "noted", level: "info", text: "unheard" });
    await orchestrator.settled();
    expect(orchestrator.state).toBe(before);
  });
});
