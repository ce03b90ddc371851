/** Several runs behind one gateway: who works for which, and what owners may do. */
import { afterEach, describe, expect, it } from "vitest";
import { accounts } from "../../src/network/ledger/ledger.ts";
import { fakeHash } from "../../src/network/orchestrator/core/fake-swarm.ts";
import { currentEpoch } from "../../src/network/orchestrator/core/state.ts";
import type { ServedRun } from "../../src/network/runs/served-run.ts";
import { createIdentity } from "../../src/protocol/identity.ts";
import { type PlaceRef, type RunId, runIdSchema, sameEpoch } from "../../src/protocol/ids.ts";
import type { NewRun } from "../../src/protocol/owner-commands.ts";
import { type FakeClient, type GatewayWorld, openGatewayWorld } from "./gateway-world.ts";

const runId = (name: string): RunId => runIdSchema.parse(name);
const first = runId("test-run");

let world: GatewayWorld;
afterEach(async () => {
  await world.close();
  expect(world.logged).toEqual([]);
});

/** Miners that have asked for work, one after the other. */
async function join(count: number): Promise<FakeClient[]> {
  const miners: FakeClient[] = [];
  for (let index = 0; index < count; index++) {
    const miner = await world.enter();
    miner.join();
    await miner.next("assigned");
    miners.push(miner);
  }
  return miners;
}

function minersOf(run: ServedRun, miners: readonly FakeClient[]): readonly FakeClient[] {
  return miners.filter(({ identity }) => world.runs.workforce.runOf(identity.minerId) === run);
}

/** Has the members of a run load their weights and start; returns their places. */
async function start(run: ServedRun, members: readonly FakeClient[]): Promise<readonly PlaceRef[]> {
  await run.orchestrator.settled();
  const epoch = currentEpoch(run.state);
  const places: PlaceRef[] = [];
  for (const member of members) {
    const { at } = await member.next("prepare", (message) => sameEpoch(message.at, epoch));
    places.push(at);
    member.send({ type: "ready", at, weightsHash: fakeHash("initial") });
  }
  for (const member of members) await member.next("start");
  return places;
}

const failure = { code: "compute-crashed", message: "crashed", action: "", retry: true } as const;

describe("miners of a network with two runs", () => {
  it("are shared by the runs' weights, and reach only those of their own run", async () => {
    world = await openGatewayWorld();
    const [run, other] = [world.runs.get(first), await world.addRun("second")];
    const miners = await join(4);
    const [own, others] = [minersOf(run, miners), minersOf(other, miners)];
    expect([own.length, others.length]).toEqual([2, 2]);
    await Promise.all([start(run, own), start(other, others)]);
    const [a, , b] = [...own, ...others];
    if (a === undefined || b === undefined) return expect.fail("a run has no miner");
    const frame = { kind: "forward", peer: b.identity.minerId, messageNumber: 0, totalBytes: 1, offset: 0 } as const;
    a.sendFrame({ ...frame, chunk: Uint8Array.of(1) });
    expect((await a.next("undeliverable")).peer).toBe(b.identity.minerId);
  });

  it("stay to the end of their epoch when a weight changes, and then move", async () => {
    world = await openGatewayWorld();
    const [run, other] = [world.runs.get(first), await world.addRun("second")];
    const miners = await join(6);
    const others = minersOf(other, miners);
    expect(others).toHaveLength(3);
    const places = await start(other, others);
    await world.runs.reweight(run, 2);
    expect(minersOf(other, miners)).toEqual(others);
    // The epoch fails with its last replica; before it begins anew, members may go.
    places.forEach((at, index) => {
      others[index]?.send({ type: "failed", at, failure });
    });
    const moved = others.map((member) => member.next("assigned"));
    expect((await Promise.race(moved)).runId).toBe(first);
    expect(minersOf(other, miners)).toHaveLength(2);
    for (const rest of moved) rest.catch(() => undefined); // the world ends before the other one is moved
  });

  it("work for the other run while theirs is paused, and come back when it goes on", async () => {
    const owner = createIdentity();
    world = await openGatewayWorld({ owners: new Set([owner.minerId]) });
    const steering = await world.enter({ identity: owner, role: "observer" });
    const other = await world.addRun("second");
    const miners = await join(4);
    await steering.command({ type: "steer-run", runId: first, action: "pause" });
    expect(minersOf(other, miners)).toHaveLength(4);
    await steering.command({ type: "steer-run", runId: first, action: "resume" });
    expect(minersOf(other, miners)).toHaveLength(2);
  });

  it("come back to the run that they were lost from", async () => {
    world = await openGatewayWorld();
    const other = await world.addRun("second");
    const miners = await join(4);
    const others = minersOf(other, miners);
    for (const member of others) member.end();
    for (const member of others) await member.closed;
    for (const { identity } of others) {
      const returned = await world.enter({ identity });
      returned.join();
      expect(await returned.nextAssigned()).toBe(other.runId);
    }
  });

  it("that belong to none are told so, until there is one", async () => {
    const owner = createIdentity();
    world = await openGatewayWorld({ owners: new Set([owner.minerId]) });
    const steering = await world.enter({ identity: owner, role: "observer" });
    await steering.command({ type: "steer-run", runId: first, action: "pause" });
    await steering.command({ type: "delete-run", runId: first });
    const miner = await world.connect();
    miner.hello();
    expect((await miner.next("runs")).runs).toEqual([]);
    miner.join();
    expect(await miner.nextAssigned()).toBeNull();
    expect((await miner.next("idle")).reason).toContain("No run");
    await world.addRun("second");
    expect(await miner.nextAssigned()).toBe("second");
    expect((await miner.next("idle")).reason).toContain("no miner");
  });
});

describe("an owner's session", () => {
  async function openOwned(): Promise<FakeClient> {
    const owner = createIdentity();
    world = await openGatewayWorld({ owners: new Set([owner.minerId]) });
    return world.enter({ identity: owner, role: "observer" });
  }
  const newRun = (part: Partial<NewRun> = {}): NewRun => ({ preset: "tiny", weight: 1, replicas: 1, ...part });

  it("stands beside that of the miner with the same key", async () => {
    const owner = createIdentity();
    world = await openGatewayWorld({ owners: new Set([owner.minerId]) });
    const miner = await world.enter({ identity: owner });
    const steering = await world.enter({ identity: owner, role: "observer" });
    expect(await steering.command({ type: "reweight-run", runId: first, weight: 2 })).toEqual({
      ok: true,
      runId: first,
    });
    miner.join();
    expect(await miner.nextAssigned()).toBe(first);
    expect(miner.received("refused")).toEqual([]);
  });

  it("creates runs, which everyone is told of in full, under names of their own", async () => {
    const owner = await openOwned();
    const watcher = await world.enter({ role: "observer" });
    expect(await owner.command({ type: "create-run", run: newRun({ weight: 4 }) })).toEqual({
      ok: true,
      runId: "tiny",
    });
    expect(await owner.command({ type: "create-run", run: newRun() })).toEqual({ ok: true, runId: "tiny-2" });
    const { runs } = await watcher.next("runs", (message) => message.runs.length === 3);
    expect(runs.map((run) => [run.runId, run.weight])).toEqual([
      ["test-run", 1],
      ["tiny", 4],
      ["tiny-2", 1],
    ]);
    const { update } = await watcher.next("run-update", (message) => message.update.runId === "tiny-2");
    expect(update).toMatchObject({ view: { phase: "waiting" }, epochs: [], evaluations: [] });
  });

  it("may create the same run twice, but no other one in its place", async () => {
    const owner = await openOwned();
    const run = newRun({ runId: runId("mine"), seed: 1 });
    for (const _ of [1, 2])
      expect(await owner.command({ type: "create-run", run })).toEqual({ ok: true, runId: "mine" });
    expect(world.runs.all).toHaveLength(2);
    for (const [other, aspect] of [
      [{ ...run, seed: 2 }, "training"],
      [{ ...run, weight: 2 }, "weight"],
    ] as const)
      expect(await owner.command({ type: "create-run", run: other })).toMatchObject({
        failure: { code: "invalid-option", message: expect.stringContaining(aspect) },
      });
  });

  it.each([
    ["a preset that there is not", { preset: "enormous" }, "invalid-option", "demo"],
    ["a path that only its own computer knows", { data: "notes.txt" }, "invalid-option", "orchestrator's computer"],
    ["text that is not there", { data: "/nowhere/notes.txt" }, "file-unreadable", "orchestrator's computer"],
    ["a model that is not there", { from: "/nowhere/model" }, "file-unreadable", "orchestrator's computer"],
    ["a checkpoint that was forgotten", { from: "0123456789abcdef" }, "not-found", "tah run checkpoints"],
  ] as const)("is told why %s makes no run", async (_, part, code, action) => {
    const owner = await openOwned();
    expect(await owner.command({ type: "create-run", run: newRun(part) })).toMatchObject({
      failure: { code, action: expect.stringContaining(action) },
    });
    expect(world.runs.all).toHaveLength(1);
  });

  it("deletes a run only when it rests, with everything but its receipts, and sends its miners elsewhere", async () => {
    const owner = await openOwned();
    const [miner] = await join(1);
    const other = await world.addRun("second", { stages: 1, data: world.otherText });
    const [kept, gone] = [other.definition.dataset, world.runs.get(first).definition.dataset];
    expect(await owner.command({ type: "delete-run", runId: first })).toMatchObject({
      failure: { code: "wrong-state", action: expect.stringContaining("tah run pause test-run") },
    });
    const { minerId } = createIdentity();
    const at = { runId: first, epoch: 0, attempt: 0 };
    const transfer = {
      reference: "receipt",
      from: accounts.issuance(first),
      to: accounts.payable(minerId),
      atMs: 0,
      at,
    };
    await world.store.enter([{ ...transfer, microCredits: 1 }]);
    await owner.command({ type: "steer-run", runId: first, action: "finish" });
    expect(await owner.command({ type: "delete-run", runId: first })).toEqual({ ok: true, runId: first });
    await owner.next("runs", ({ runs }) => runs.every((run) => run.runId !== first));
    expect(await world.store.runIds()).toEqual([other.runId]);
    expect(await world.store.transfers()).toHaveLength(1);
    expect(world.blobs.bytesOf(gone.manifest.hash)).toBeUndefined();
    expect(world.blobs.bytesOf(kept.manifest.hash)).toBe(kept.manifest.bytes);
    expect(minersOf(other, miner ? [miner] : [])).toHaveLength(1);
    // Receipts name it: the name is not given again.
    expect(await owner.command({ type: "create-run", run: newRun({ runId: first }) })).toMatchObject({
      failure: { code: "invalid-option", message: expect.stringContaining("deleted") },
    });
    expect(await owner.command({ type: "delete-run", runId: first })).toMatchObject({ failure: { code: "not-found" } });
  });

  it("is told that a run that has ended neither goes on nor pauses", async () => {
    const owner = await openOwned();
    for (const _ of [1, 2])
      expect(await owner.command({ type: "steer-run", runId: first, action: "finish" })).toEqual({
        ok: true,
        runId: first,
      });
    for (const action of ["pause", "resume"] as const)
      expect(await owner.command({ type: "steer-run", runId: first, action })).toMatchObject({
        failure: { code: "wrong-state" },
      });
  });
});
