import { describe, expect, it } from "vitest";
import { bytesOf, hashBytes } from "../../protocol/identity.ts";
import { runIdSchema } from "../../protocol/ids.ts";
import { type FakeMember, FakeSwarm } from "./fake-swarm.ts";

const joinsOf = (member: FakeMember) => member.sent.filter(({ type }) => type === "join");

function alone(swarm: FakeSwarm): FakeMember {
  const [member] = swarm.members;
  if (member === undefined) throw new Error("a member");
  return member;
}

describe("asking for places", () => {
  it("is repeated, ever more seldom, until it is answered, and after a minute where there are none", async () => {
    const member = alone(new FakeSwarm(1, 1));
    const swarm = new FakeSwarm(1, 1);
    const asking = alone(swarm);
    expect(joinsOf(member)).toHaveLength(1);
    await swarm.turns(11_000);
    expect(joinsOf(asking)).toHaveLength(4);
    asking.places.handle({ type: "idle", reason: "Every stage has enough miners." });
    expect(asking.places.state).toEqual({ kind: "waiting", reason: "Every stage has enough miners." });
    await swarm.turns(59_000);
    expect(joinsOf(asking)).toHaveLength(4);
    await swarm.turns(2000);
    expect(joinsOf(asking)).toHaveLength(5);
    await swarm.prepare();
    await swarm.turns(61_000);
    expect(joinsOf(asking)).toHaveLength(5);
  });

  it("is not done while a person wants none, whatever the network says", async () => {
    const swarm = new FakeSwarm(1, 1);
    const member = alone(swarm);
    await member.places.leave("You paused it.", 1000);
    member.places.handle(await swarm.place(0));
    expect(member.engines).toEqual([]);
    expect(member.places.state).toEqual({ kind: "paused", reason: "You paused it." });
    member.places.join();
    expect(member.sent.at(-1)).toMatchObject({ type: "join", held: [] });
    expect(member.places.state.kind).toBe("waiting");
  });

  it("again changes nothing for who has one", async () => {
    const swarm = new FakeSwarm(2, 1);
    await swarm.prepare();
    swarm.start();
    swarm.member(1, 0).places.join();
    expect((await swarm.trained())[0]).toMatchObject({ microbatchesDone: 6, microbatchesLost: 0 });
  });
});

describe("a miner's places", () => {
  it("are told to people by their stages", async () => {
    const swarm = new FakeSwarm(3, 0, {}, { holdings: [[0, 1], [2]] });
    const member = alone(swarm);
    await swarm.prepare();
    swarm.start();
    expect(member.places.state).toEqual({ kind: "training", stages: [0, 1], reason: "Training stages 1 and 2 of 3." });
    expect(member.places.places.map(({ stage }) => stage.index)).toEqual([0, 1]);
  });

  it("that the next epoch does not have end, and make way for new ones", async () => {
    const swarm = new FakeSwarm(2, 1);
    const member = alone(swarm);
    await swarm.prepare();
    swarm.at = { ...swarm.at, epoch: 1 };
    member.places.handle(await swarm.place(1));
    await swarm.turns(100);
    expect(member.engines).toHaveLength(1);
    await swarm.heard(member, "ready", 1);
    expect(member.engines.map(({ isClosed }) => isClosed)).toEqual([true, false]);
    expect(member.places.places.map(({ stage }) => stage.index)).toEqual([1]);
  });

  it("that stay are not waited for when a new one comes along", async () => {
    const swarm = new FakeSwarm(2, 1);
    const member = alone(swarm);
    await swarm.prepare();
    swarm.at = { ...swarm.at, epoch: 1 };
    const atMs = swarm.clock.nowMs();
    member.places.handle(await swarm.place(1));
    member.places.handle(await swarm.place(0));
    await swarm.heard(member, "ready", 0);
    await swarm.heard(member, "ready", 1);
    expect(swarm.clock.nowMs() - atMs).toBeLessThan(100);
    expect(member.engines.map(({ isClosed }) => isClosed)).toEqual([false, false]);
  });

  it("end at once when the miner is to work for another run", async () => {
    const swarm = new FakeSwarm(1, 1);
    const member = alone(swarm);
    await swarm.prepare();
    member.places.assigned(swarm.at.runId);
    expect(member.places.places).toHaveLength(1);
    member.places.assigned(runIdSchema.parse("another"));
    expect(member.places.places).toEqual([]);
    expect(member.engines.map(({ isClosed }) => isClosed)).toEqual([true]);
  });

  it("all end when there is none left", async () => {
    const swarm = new FakeSwarm(2, 0, {}, { holdings: [[0, 1]] });
    const member = alone(swarm);
    await swarm.prepare();
    member.places.handle({ type: "idle", reason: "The run is paused." });
    expect(member.engines.map(({ isClosed }) => isClosed)).toEqual([true, true]);
    expect(member.places.state).toEqual({ kind: "waiting", reason: "The run is paused." });
  });

  it("take their start from a miner that holds it, and from the network when that has other bytes", async () => {
    const swarm = new FakeSwarm(1, 2);
    const [holder, joiner] = swarm.members;
    if (holder === undefined || joiner === undefined) throw new Error("two members");
    await swarm.prepare([holder]);
    const { weights, optimizer } = await swarm.engine(holder).call("state");
    const checkpoint = {
      weights: swarm.blobs.add(bytesOf(weights.map(() => 7))),
      optimizer: swarm.blobs.add(bytesOf(optimizer)),
    };
    const offering = { ...checkpoint, moments: null, holders: [holder.id], merges: [], mergers: [] };
    const stored = new Map(swarm.blobs.stored);
    for (const { hash } of Object.values(checkpoint)) swarm.blobs.stored.delete(hash);
    const offered = Object.values(checkpoint).map(({ hash }) => holder.offer(stored.get(hash) ?? new Uint8Array()));
    const place = await swarm.place(0, checkpoint);
    joiner.places.handle({ ...place, checkpoint: offering });
    expect((await swarm.heard(joiner, "ready")).weightsHash).toBe(checkpoint.weights.hash);
    for (const each of offered) each.withdraw();
    joiner.blobs.kept.clear();
    for (const [hash, bytes] of stored) swarm.blobs.stored.set(hash, bytes);
    swarm.at = { ...swarm.at, epoch: 1 };
    const next = await swarm.place(0, checkpoint);
    joiner.places.handle({ ...next, checkpoint: offering });
    expect((await swarm.heard(joiner, "ready")).weightsHash).toBe(hashBytes(bytesOf(weights.map(() => 7))));
  });
});

describe("leaving", () => {
  it("hands over what is in flight: nothing new is taken, the contribution is made, and then the place is given up", async () => {
    const swarm = new FakeSwarm(3, 2, { stepsPerEpoch: 20 });
    const leaver = swarm.member(1, 0);
    await swarm.prepare();
    swarm.start();
    await swarm.until(() => swarm.engine(leaver).trained.length > 2);
    const left = leaver.places.leave("You paused it.", 5000);
    expect(leaver.places.state).toEqual({ kind: "paused", reason: "You paused it." });
    await swarm.until(() => swarm.engine(leaver).kept.length === 0);
    const trained = swarm.engine(leaver).trained.length;
    await swarm.turns(200);
    expect(swarm.engine(leaver).trained).toHaveLength(trained);
    expect(leaver.sent.some(({ type }) => type === "leave")).toBe(false);
    swarm.tell(swarm.inStage(1), { type: "upload", replicas: swarm.inStage(1).map(({ id }) => id) });
    await swarm.heard(leaver, "contributed");
    await left;
    expect(leaver.sent.at(-1)).toEqual({ type: "leave", reason: "You paused it." });
    expect(leaver.engines.map(({ isClosed }) => isClosed)).toEqual([true]);
  });

  it("takes no longer than it may", async () => {
    const swarm = new FakeSwarm(3, 2, { stepsPerEpoch: 20 });
    const leaver = swarm.member(1, 0);
    await swarm.prepare();
    swarm.start();
    await swarm.until(() => swarm.engine(leaver).trained.length > 2);
    void leaver.places.leave("You paused it.", 2000);
    await swarm.turns(1990);
    expect(leaver.sent.at(-1)?.type).not.toBe("leave");
    await swarm.turns(20);
    expect(leaver.sent.at(-1)).toEqual({ type: "leave", reason: "You paused it." });
  });

  it("of a source lets the others' steps go on without it", async () => {
    const swarm = new FakeSwarm(2, 2, { stepsPerEpoch: 6 });
    const [stays, leaves] = swarm.inStage(0);
    if (stays === undefined || leaves === undefined) throw new Error("two sources");
    await swarm.prepare();
    swarm.start();
    await swarm.until(() => swarm.engine(leaves).calls.includes("step"));
    void leaves.places.leave("You paused it.", 100_000);
    const [done, left] = await swarm.trained();
    expect(done).toMatchObject({ microbatchesDone: 18, microbatchesLost: 0 });
    expect(left?.microbatchesDone).toBeLessThan(18);
    expect(left?.microbatchesLost).toBe(0);
  });

  it("is at once where nothing was trained yet, and is called off by joining again", async () => {
    const swarm = new FakeSwarm(2, 1);
    const member = swarm.member(1, 0);
    await swarm.prepare();
    await member.places.leave("You paused it.", 5000);
    expect(member.sent.at(-1)?.type).toBe("leave");
    member.places.join();
    swarm.at = { ...swarm.at, attempt: 1 };
    await swarm.prepare();
    swarm.start();
    await swarm.until(() => swarm.engine(member).trained.length > 0);
    const leaving = member.places.leave("You paused it.", 5000);
    member.places.join();
    await leaving;
    expect(member.sent.slice(-2).map(({ type }) => type)).toEqual(["leave", "join"]);
    expect(member.places.state.kind).toBe("waiting");
  });
});

describe("a worker that crashes", () => {
  it("is reported, and a place asked for again with a new one", async () => {
    const swarm = new FakeSwarm(2, 1);
    const member = swarm.member(1, 0);
    await swarm.prepare();
    member.engines[0]?.crash();
    expect((await swarm.heard(member, "failed")).failure.code).toBe("compute-crashed");
    await swarm.until(() => joinsOf(member).length === 2);
    expect(joinsOf(member).at(-1)).toMatchObject({ held: [] });
    swarm.at = { ...swarm.at, attempt: 1 };
    await swarm.prepare();
    expect(member.engines[0]?.made).toHaveLength(2);
  });

  it("costs the miner's other places nothing", async () => {
    const swarm = new FakeSwarm(2, 0, {}, { holdings: [[0, 1], [1]] });
    const member = alone(swarm);
    await swarm.prepare();
    swarm.start();
    member.engines[1]?.crash();
    await swarm.heard(member, "failed", 1);
    await swarm.until(() => joinsOf(member).length === 2);
    // It asks for that place again, and names the one that it still holds.
    expect(joinsOf(member).at(-1)).toMatchObject({ held: [{ ...swarm.at, stage: 0 }] });
    expect((await swarm.trained())[0]).toMatchObject({ microbatchesDone: 6, microbatchesLost: 0 });
  });

  it("while a pause is handed over does not make the miner want to train again", async () => {
    const swarm = new FakeSwarm(2, 1);
    const member = swarm.member(1, 0);
    await swarm.prepare();
    swarm.start();
    await swarm.until(() => swarm.engine(member).trained.length > 0);
    const left = member.places.leave("You paused it.", 5000);
    member.engines[0]?.crash();
    await left;
    expect(member.places.state).toEqual({ kind: "paused", reason: "You paused it." });
    expect(member.sent.at(-1)?.type).toBe("leave");
  });

  it("again and again is started after 0, 5, 10, 20 … 300 s, and then no more until somebody asks", async () => {
    const swarm = new FakeSwarm(1, 1);
    const member = alone(swarm);
    await swarm.prepare();
    for (const [index, seconds] of [0, 5, 10, 20, 40, 80, 160, 300].entries()) {
      member.engines[0]?.crash();
      expect(member.places.state.kind).toBe("waiting");
      swarm.at = { ...swarm.at, attempt: index + 1 };
      member.places.handle(await swarm.place(0));
      // With jitter of a quarter.
      swarm.clock.advance(Math.max(0, 750 * seconds - 50));
      await swarm.turns(20);
      if (seconds > 0) expect(member.engines[0]?.made).toHaveLength(index + 1);
      swarm.clock.advance(500 * seconds + 50);
      await swarm.heard(member, "ready");
    }
    member.engines[0]?.crash();
    expect(member.places.state).toMatchObject({ kind: "stopped", reason: expect.stringContaining("crashed") });
    expect(member.sent.at(-1)?.type).toBe("leave");
    member.places.join();
    expect(member.places.state.kind).toBe("waiting");
  });
});
