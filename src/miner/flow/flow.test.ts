import { describe, expect, it } from "vitest";
import { FailureError } from "../../protocol/failure.ts";
import { FakeSwarm } from "./fake-swarm.ts";

const nonFinite = () => new FailureError("compute-non-finite", "NaN in a test");

describe("an epoch", () => {
  it("takes every microbatch through all stages, and leaves the replicas of a stage with the same weights", async () => {
    const swarm = new FakeSwarm(3, 2);
    await swarm.prepare();
    swarm.start();
    for (const done of await swarm.trained()) expect(done).toMatchObject({ microbatchesDone: 6, microbatchesLost: 0 });
    const contributed = await swarm.upload();
    // Two sources with 6 microbatches of 16 tokens, spread over two replicas per stage.
    expect(contributed.map(({ tokens }) => tokens)).toEqual(Array(6).fill(96));
    expect(contributed.map(({ lossSumNats }) => lossSumNats)).toEqual([null, null, null, null, 192, 192]);
    const merged = await swarm.merge();
    for (const stage of [0, 2, 4]) expect(merged[stage]?.weightsHash).toBe(merged[stage + 1]?.weightsHash);
    for (const { engines } of swarm.members) expect(engines.engine().kept).toEqual([]);
  });

  it("goes on from its own merge without loading, and loads the checkpoint in a replica that missed it", async () => {
    const swarm = new FakeSwarm(2, 2);
    await swarm.prepare();
    swarm.start();
    await swarm.trained();
    await swarm.upload();
    await swarm.merge();
    const checkpoints = new Map([
      [0, await swarm.stored(swarm.member(0, 0))],
      [1, await swarm.stored(swarm.member(1, 1))],
    ]);
    swarm.member(1, 0).engines.crash();
    await swarm.heard(swarm.member(1, 0), "failed");
    swarm.clock.advance(1);
    swarm.at = { ...swarm.at, epoch: 1 };
    await swarm.prepare(swarm.members, checkpoints);
    const loads = swarm.members.map(({ engines }) => engines.engine().calls.filter((call) => call === "load").length);
    expect(loads).toEqual([0, 0, 1, 0]);
    for (const member of swarm.members)
      expect((await swarm.heard(member, "ready")).weightsHash).toBe(checkpoints.get(member.stage)?.weights.hash);
  });

  it("works with a single stage", async () => {
    const swarm = new FakeSwarm(1, 2);
    await swarm.prepare();
    swarm.start();
    await swarm.trained();
    const contributed = await swarm.upload();
    expect(contributed.map(({ tokens, lossSumNats }) => [tokens, lossSumNats])).toEqual([
      [96, 192],
      [96, 192],
    ]);
  });

  it("uses all replicas of a stage, however many sources there are", async () => {
    const swarm = new FakeSwarm(2, 2);
    const members = [swarm.member(0, 0), swarm.member(1, 0), swarm.member(1, 1)];
    await swarm.prepare(members);
    swarm.start(members);
    await swarm.trained([swarm.member(0, 0)]);
    expect((await swarm.upload(members)).map(({ tokens }) => tokens)).toEqual([96, 48, 48]);
  });

  it.each([
    { replicas: [1, 1, 2], stepsOfLast: 8 },
    { replicas: [3, 3, 2], stepsOfLast: 24 },
  ])("ends every source's step in every replica it used: $replicas", async ({ replicas, stepsOfLast }) => {
    const swarm = new FakeSwarm(3, 3, { stepsPerEpoch: 8 });
    const members = replicas.flatMap((count, stage) => swarm.inStage(stage).slice(0, count));
    const lastStage = members.filter(({ stage }) => stage === 2);
    await swarm.prepare(members);
    swarm.start(members);
    await swarm.trained(members.filter(({ stage }) => stage === 0));
    await swarm.turns(100); // for the last markers
    for (const { engines } of lastStage)
      expect(engines.engine().calls.filter((call) => call === "step")).toHaveLength(stepsOfLast);
    // Each of the two had half of the microbatches, and all of them count.
    const trainedTokens = (replicas[0] ?? 0) * 8 * 3 * 16;
    expect((await swarm.upload(lastStage)).map(({ tokens }) => tokens)).toEqual(Array(2).fill(trainedTokens / 2));
  });

  it("passes a step's end on although the source's next step overtook it", async () => {
    const swarm = new FakeSwarm(4, 2);
    const members = [0, 1, 2, 3].flatMap((stage) => swarm.inStage(stage).slice(0, stage % 2 === 0 ? 1 : 2));
    const [slow] = swarm.inStage(1);
    // One of the second stage's two replicas is slow to say that a step is over.
    swarm.network.fate = ({ from, kind }) => (kind === "flush" && from === slow?.id ? "hold" : "deliver");
    await swarm.prepare(members);
    swarm.start(members);
    await swarm.trained([swarm.member(0, 0)]);
    await swarm.turns(100);
    swarm.network.release();
    await swarm.turns(100);
    for (const { engines } of members) expect(engines.engine().calls.filter((call) => call === "step")).toHaveLength(2);
  });

  it("takes no step before the merge in sync mode", async () => {
    const swarm = new FakeSwarm(2, 1, { mode: "sync", stepsPerEpoch: 1 });
    await swarm.prepare();
    swarm.start();
    await swarm.trained();
    const contributed = await swarm.upload();
    expect(contributed.map(({ tokens }) => tokens)).toEqual([48, 48]);
    for (const { engines } of swarm.members) expect(engines.engine().calls).not.toContain("step");
  });

  it("keeps what overtakes a replica's own start", async () => {
    const swarm = new FakeSwarm(2, 1);
    await swarm.prepare();
    const [source, last] = swarm.members;
    if (source === undefined || last === undefined) throw new Error("two members");
    const roster = swarm.roster();
    swarm.tell([source], { type: "start", at: swarm.at, roster });
    await swarm.until(() => last.link.traffic.receivedBytes > 0);
    swarm.tell([last], { type: "start", at: swarm.at, roster });
    expect((await swarm.trained())[0]).toMatchObject({ microbatchesDone: 6, microbatchesLost: 0 });
  });

  it("ignores what came twice", async () => {
    const swarm = new FakeSwarm(3, 1);
    swarm.network.fate = () => "double";
    await swarm.prepare();
    swarm.start();
    await swarm.trained();
    expect((await swarm.upload()).map(({ tokens }) => tokens)).toEqual([96, 96, 96]);
  });

  it("starts over when a new attempt is prepared in its middle", async () => {
    const swarm = new FakeSwarm(3, 1);
    await swarm.prepare();
    swarm.network.fate = ({ kind }) => (kind === "backward" ? "hold" : "deliver");
    swarm.start();
    await swarm.until(() => swarm.member(2, 0).engines.engine().calls.includes("forwardBackward"));
    swarm.at = { ...swarm.at, attempt: 1 };
    await swarm.prepare();
    swarm.network.fate = () => "deliver";
    swarm.network.release(); // gradients of the attempt before: nobody wants them
    swarm.start();
    await swarm.trained();
    expect((await swarm.upload()).map(({ tokens }) => tokens)).toEqual([96, 96, 96]);
  });
});

describe("a fault", () => {
  it("costs the microbatch whose message was lost, at its deadline, and nothing else", async () => {
    const swarm = new FakeSwarm(3, 1);
    let dropped = 0;
    swarm.network.fate = ({ kind }) => (kind === "backward" && dropped++ === 0 ? "drop" : "deliver");
    await swarm.prepare();
    swarm.start();
    await swarm.until(() => dropped === 3 + 2); // last → middle: 3, middle → source: 2
    swarm.clock.advance(100_000);
    expect((await swarm.trained())[0]).toMatchObject({ microbatchesDone: 5, microbatchesLost: 1 });
    const [source, middle, last] = await swarm.upload();
    expect([source?.tokens, middle?.tokens, last?.tokens]).toEqual([80, 80, 96]);
    for (const { engines } of swarm.members) expect(engines.engine().kept).toEqual([]);
  });

  it("in a peer makes its sources take the other replica", async () => {
    const swarm = new FakeSwarm(3, 2);
    const dead = swarm.member(1, 0);
    swarm.network.fate = ({ to }) => (to === dead.id ? "drop" : "deliver");
    await swarm.prepare();
    swarm.start();
    await swarm.until(() => swarm.member(0, 0).engines.engine().kept.length === 3);
    const rest = swarm.members.filter((member) => member !== dead);
    swarm.tell(rest, { type: "roster", at: swarm.at, roster: swarm.roster(rest) });
    const [paired, other] = await swarm.trained();
    expect(paired).toMatchObject({ microbatchesDone: 3, microbatchesLost: 3 });
    expect(other).toMatchObject({ microbatchesDone: 6, microbatchesLost: 0 });
    expect((await swarm.upload(rest)).map(({ tokens }) => tokens)).toEqual([48, 96, 144, 48, 96]);
  });

  it("in a peer while its source computes makes the microbatch take the other replica", async () => {
    const swarm = new FakeSwarm(3, 2);
    const dead = swarm.member(2, 0);
    const rest = swarm.members.filter((member) => member !== dead);
    let told = false;
    // The last stage's replica dies while the sources are in their first forward pass.
    swarm.member(0, 0).engines.failing = (method) => {
      if (method !== "forward" || told) return null;
      told = true;
      swarm.network.remove(dead.id);
      swarm.tell(rest, { type: "roster", at: swarm.at, roster: swarm.roster(rest) });
      return null;
    };
    await swarm.prepare();
    swarm.start();
    for (const done of await swarm.trained()) expect(done).toMatchObject({ microbatchesDone: 6, microbatchesLost: 0 });
    expect(told).toBe(true);
  });

  it("in a peer is noticed when sending to it fails, before any roster says so", async () => {
    const swarm = new FakeSwarm(2, 2);
    await swarm.prepare();
    swarm.network.remove(swarm.member(1, 0).id);
    swarm.start();
    const [paired] = await swarm.trained();
    expect(paired?.microbatchesDone).toBeGreaterThan(0);
    expect((paired?.microbatchesDone ?? 0) + (paired?.microbatchesLost ?? 0)).toBe(6);
  });

  it("in a stage's only replica makes the sources wait for a new roster", async () => {
    const swarm = new FakeSwarm(2, 1);
    await swarm.prepare();
    const last = swarm.member(1, 0);
    swarm.network.remove(last.id);
    swarm.start([swarm.member(0, 0), last]);
    await swarm.until(() => swarm.member(0, 0).engines.engine().calls.includes("discard"));
    expect(swarm.member(0, 0).sent.some(({ type }) => type === "source-done")).toBe(false);
    expect(swarm.member(0, 0).replica.state.kind).toBe("training");
  });

  it("of numbers drops the microbatch and counts it", async () => {
    const swarm = new FakeSwarm(2, 1);
    swarm.member(1, 0).engines.failing = (method, call) =>
      method === "forwardBackward" && call === 2 ? nonFinite() : null;
    await swarm.prepare();
    swarm.start();
    await swarm.until(
      () =>
        swarm
          .member(0, 0)
          .engines.engine()
          .calls.filter((call) => call === "backward").length === 2,
    );
    swarm.clock.advance(100_000);
    expect((await swarm.trained())[0]).toMatchObject({ microbatchesDone: 5, microbatchesLost: 1 });
  });

  it("of memory for one more microbatch in flight costs that microbatch only", async () => {
    const swarm = new FakeSwarm(2, 1);
    swarm.member(0, 0).engines.failing = (method, call) =>
      method === "forward" && call === 2 ? new FailureError("memory-full", "no room in a test") : null;
    await swarm.prepare();
    swarm.start();
    expect((await swarm.trained())[0]).toMatchObject({ microbatchesDone: 5, microbatchesLost: 1 });
  });

  it("of numbers that repeats makes the replica give up its place", async () => {
    const swarm = new FakeSwarm(2, 1);
    swarm.member(1, 0).engines.failing = (method) => (method === "forwardBackward" ? nonFinite() : null);
    await swarm.prepare();
    swarm.start();
    expect((await swarm.heard(swarm.member(1, 0), "failed")).failure.code).toBe("compute-non-finite");
  });

  it("of the worker is reported, and the replica asks for a place again with a new worker", async () => {
    const swarm = new FakeSwarm(2, 1);
    const member = swarm.member(1, 0);
    await swarm.prepare();
    member.engines.crash();
    expect((await swarm.heard(member, "failed")).failure.code).toBe("compute-crashed");
    expect(member.sent.filter(({ type }) => type === "join")).toHaveLength(1);
    swarm.clock.advance(1);
    expect(member.sent.filter(({ type }) => type === "join")).toHaveLength(2);
    swarm.at = { ...swarm.at, attempt: 1 };
    await swarm.prepare();
    expect(member.engines.made).toHaveLength(2);
  });

  it("of the worker makes the replica take its next place only after the pause", async () => {
    const swarm = new FakeSwarm(1, 1);
    const member = swarm.member(0, 0);
    for (const attempt of [0, 1]) {
      swarm.at = { ...swarm.at, attempt };
      await swarm.prepare();
      member.engines.crash();
      if (attempt === 0) swarm.clock.advance(1);
    }
    swarm.at = { ...swarm.at, attempt: 2 };
    const prepared = swarm.prepare();
    await swarm.turns(20);
    expect(member.engines.made).toHaveLength(2);
    swarm.clock.advance(1000);
    await prepared;
    expect(member.engines.made).toHaveLength(3);
  });

  it("of the worker that always repeats stops the miner with the reason, until it is asked again", async () => {
    const swarm = new FakeSwarm(1, 1);
    const member = swarm.member(0, 0);
    for (let attempt = 0; attempt < 5; attempt++) {
      swarm.at = { ...swarm.at, attempt };
      await swarm.prepare();
      member.engines.crash();
      expect(member.replica.state.kind).toBe("waiting");
      swarm.clock.advance(10_000);
    }
    swarm.at = { ...swarm.at, attempt: 5 };
    await swarm.prepare();
    member.engines.crash();
    expect(member.replica.state).toMatchObject({ kind: "stopped", reason: expect.stringContaining("crashed") });
    member.replica.join();
    expect(member.replica.state.kind).toBe("waiting");
  });
});

describe("a merge", () => {
  it("leaves out contributions of the wrong size or with values that are not finite, in every replica alike", async () => {
    const swarm = new FakeSwarm(1, 2);
    await swarm.prepare();
    swarm.start();
    await swarm.trained();
    const contributed = await swarm.upload();
    const [honest] = contributed;
    if (honest === undefined) throw new Error("a contribution");
    const poison = new Float32Array(honest.blob.bytes / 4).fill(Number.NaN);
    const contributions = [
      honest.blob,
      await swarm.blobs.put(new Uint8Array(poison.buffer)),
      await swarm.blobs.put(new Uint8Array(12)),
    ].map((blob) => ({ minerId: swarm.member(0, 0).id, blob, tokens: 96 }));
    swarm.tell(swarm.members, { type: "merge", at: swarm.at, contributions });
    const [first, second] = await Promise.all(swarm.members.map((member) => swarm.heard(member, "merged")));
    expect(first?.weightsHash).toBe(second?.weightsHash);
    const { weights } = await swarm.member(0, 0).engines.engine().call("state");
    expect(new Set(weights)).toEqual(new Set([6]));
  });

  it("brings a replica back into step whose contribution came too late", async () => {
    const swarm = new FakeSwarm(1, 2);
    await swarm.prepare();
    swarm.start();
    await swarm.trained();
    const [early, late] = swarm.members;
    if (early === undefined || late === undefined) throw new Error("two members");
    const [{ blob, tokens } = { blob: null, tokens: 0 }] = await swarm.upload([early]);
    if (blob === null) throw new Error("a contribution");
    swarm.tell(swarm.members, { type: "merge", at: swarm.at, contributions: [{ minerId: early.id, blob, tokens }] });
    const merged = await Promise.all(swarm.members.map((member) => swarm.heard(member, "merged")));
    expect(merged[0]?.weightsHash).toBe(merged[1]?.weightsHash);
  });
});

describe("membership", () => {
  it("is given up and asked for again as a person wishes", async () => {
    const swarm = new FakeSwarm(2, 1);
    const member = swarm.member(1, 0);
    await swarm.prepare();
    swarm.start();
    member.replica.leave("You paused it.");
    expect(member.sent.at(-1)).toEqual({ type: "leave", reason: "You paused it." });
    expect(member.replica.state).toEqual({ kind: "paused", reason: "You paused it." });
    member.replica.handle({ type: "upload", at: swarm.at });
    expect(member.replica.state.kind).toBe("paused");
    member.replica.join();
    expect(member.sent.at(-1)?.type).toBe("join");
  });

  it("is not disturbed by being asked for twice", async () => {
    const swarm = new FakeSwarm(2, 1);
    await swarm.prepare();
    swarm.start();
    swarm.member(1, 0).replica.join();
    expect((await swarm.trained())[0]).toMatchObject({ microbatchesDone: 6, microbatchesLost: 0 });
  });

  it("ends with the session, and is asked for anew in the next one", async () => {
    const swarm = new FakeSwarm(2, 1);
    const member = swarm.member(0, 0);
    await swarm.prepare();
    swarm.start();
    member.replica.disconnected("The connection was closed.");
    expect(member.replica.state).toEqual({ kind: "connecting", reason: "The connection was closed." });
    member.replica.connected(member.link);
    expect(member.sent.at(-1)?.type).toBe("join");
    expect(member.replica.state.kind).toBe("waiting");
  });
});
