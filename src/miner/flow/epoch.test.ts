import { describe, expect, it } from "vitest";
import { readRowFormat } from "../../compute/codec/rows.ts";
import { decodeMicrobatch } from "../../protocol/microbatch.ts";
import { noCompression } from "../../protocol/run-config.ts";
import { FakeSwarm, tokensPerMicrobatch } from "./fake-swarm.ts";

/** Each of the first `count` microbatches, once. */
const onceEach = (count: number) => new Map(Array.from({ length: count }, (_, microbatch) => [microbatch, 1]));

describe("an epoch", () => {
  it("takes every microbatch through all stages, and leaves the replicas of a stage with the same weights", async () => {
    const swarm = new FakeSwarm(3, 2);
    await swarm.prepare();
    swarm.start();
    for (const done of await swarm.trained()) expect(done).toMatchObject({ microbatchesDone: 6, microbatchesLost: 0 });
    for (const stage of [0, 1, 2]) expect(swarm.trainedIn(stage)).toEqual(onceEach(12));
    for (const member of swarm.members) expect(swarm.engine(member).kept).toEqual([]);
    const merged = await swarm.merge();
    for (const stage of [0, 2, 4]) expect(merged[stage]?.weightsHash).toBe(merged[stage + 1]?.weightsHash);
    const contributed = await Promise.all(swarm.inStage(2).map((member) => swarm.heard(member, "contributed")));
    expect(contributed.reduce((sum, { tokens }) => sum + tokens, 0)).toBe(12 * tokensPerMicrobatch);
    expect(contributed.reduce((sum, { lossSumNats }) => sum + (lossSumNats ?? 0), 0)).toBe(
      2 * 12 * tokensPerMicrobatch,
    );
  });

  it("sends in the formats that it was started with, and says how its boundaries were", async () => {
    const swarm = new FakeSwarm(3, 1);
    swarm.boundary = { forward: "int8", backward: "int4" };
    const formats = new Set<string>();
    swarm.network.fate = ({ kind, body }) => {
      if (kind === "forward" || kind === "backward")
        formats.add(`${kind} ${readRowFormat(decodeMicrobatch(body).payload)}`);
      return "deliver";
    };
    await swarm.prepare();
    swarm.start();
    await swarm.trained();
    expect([...formats].toSorted()).toEqual(["backward int4", "forward int8"]);
    await swarm.merge();
    const contributed = await Promise.all(swarm.members.map((member) => swarm.heard(member, "contributed")));
    const health = { rms: 1, relativeError: 0 };
    expect(contributed.map(({ boundary }) => boundary)).toEqual([health, health, null]);
  });

  it("goes on from its own merge without loading, and loads the checkpoint in a replica that missed it", async () => {
    const swarm = new FakeSwarm(2, 2);
    await swarm.prepare();
    swarm.start();
    await swarm.trained();
    await swarm.merge();
    const checkpoints = new Map([
      [0, await swarm.stored(swarm.member(0, 0))],
      [1, await swarm.stored(swarm.member(1, 1))],
    ]);
    swarm.member(1, 0).engines[0]?.crash();
    await swarm.heard(swarm.member(1, 0), "failed");
    swarm.at = { ...swarm.at, epoch: 1 };
    await swarm.prepare(swarm.members, checkpoints);
    const loads = swarm.members.map((member) => swarm.engine(member).calls.filter((call) => call === "load").length);
    expect(loads).toEqual([0, 0, 1, 0]);
    for (const member of swarm.members)
      expect((await swarm.heard(member, "ready")).weightsHash).toBe(
        checkpoints.get(member.stages[0] ?? 0)?.weights.hash,
      );
  });

  it("works with a single stage", async () => {
    const swarm = new FakeSwarm(1, 2);
    await swarm.prepare();
    swarm.start();
    await swarm.trained();
    expect(swarm.trainedIn(0)).toEqual(onceEach(12));
  });

  it.each([
    { holdings: [[0, 1, 2]] },
    {
      holdings: [
        [0, 1],
        [1, 2],
        [0, 2],
      ],
    },
    { holdings: [[0, 1, 2], [1], [2]] },
  ])("works where miners hold several stages: $holdings", async ({ holdings }) => {
    const swarm = new FakeSwarm(3, 0, {}, { holdings });
    await swarm.prepare();
    const sources = swarm.inStage(0).length;
    swarm.start();
    await swarm.trained();
    for (const stage of [0, 1, 2]) expect(swarm.trainedIn(stage)).toEqual(onceEach(6 * sources));
    await swarm.merge();
    const [several] = swarm.members;
    if (several === undefined) throw new Error("a member");
    expect(several.engines).toHaveLength(several.stages.length);
    if (holdings.length === 1) expect(several.link.traffic.sentBytes).toBe(0);
  });

  it("shares a step out among its sources by their weights", async () => {
    const swarm = new FakeSwarm(2, 2, { microbatchesPerStep: 4, stepsPerEpoch: 1 });
    const [strong, weak] = swarm.inStage(0);
    if (strong === undefined || weak === undefined) throw new Error("two sources");
    swarm.weights.set(strong.id, 3);
    await swarm.prepare();
    swarm.start();
    await swarm.trained();
    expect(swarm.engine(strong).trained.toSorted()).toEqual([0, 1, 2, 3, 4, 5]);
    expect(swarm.engine(weak).trained.toSorted()).toEqual([6, 7]);
  });

  it("takes no step before the merge in sync mode, and trains the same microbatches whoever trains them", async () => {
    const swarm = new FakeSwarm(2, 2, { mode: "sync", stepsPerEpoch: 1 });
    await swarm.prepare();
    swarm.start();
    await swarm.trained();
    for (const stage of [0, 1]) expect(swarm.trainedIn(stage)).toEqual(onceEach(6));
    for (const member of swarm.members) expect(swarm.engine(member).calls).not.toContain("step");
  });

  it("waits for a replica whose start is late, and counts nothing as lost", async () => {
    const swarm = new FakeSwarm(2, 1);
    await swarm.prepare();
    const [source, last] = swarm.members;
    if (source === undefined || last === undefined) throw new Error("two members");
    const roster = swarm.start(swarm.members, [source]);
    await swarm.turns(500);
    swarm.announce("start", [last], roster);
    expect((await swarm.trained())[0]).toMatchObject({ microbatchesDone: 6, microbatchesLost: 0 });
  });

  it("is joined late by a source that comes to the same shares as the others", async () => {
    const swarm = new FakeSwarm(2, 3);
    const [, late, lost] = swarm.inStage(0);
    if (late === undefined || lost === undefined) throw new Error("three sources");
    await swarm.prepare();
    const early = swarm.members.filter((member) => member !== late && member !== lost);
    swarm.start(swarm.members, early);
    // Its first start was lost, and one of the sources as well: it is told of a roster without that one.
    swarm.kill(lost, [...early, late]);
    swarm.announce("start", [late], swarm.roster([...early, late]));
    await swarm.trained(swarm.inStage(0, [...early, late]));
    expect(swarm.engine(late).trained.toSorted((a, b) => a - b)).toEqual([3, 4, 5, 12, 13, 14]);
  });

  it("starts over when a new attempt is prepared in its middle", async () => {
    const swarm = new FakeSwarm(3, 1);
    await swarm.prepare();
    swarm.network.fate = ({ kind }) => (kind === "backward" ? "hold" : "deliver");
    swarm.start();
    await swarm.until(() => swarm.engine(swarm.member(2, 0)).calls.includes("forwardBackward"));
    swarm.at = { ...swarm.at, attempt: 1 };
    await swarm.prepare();
    swarm.network.fate = () => "deliver";
    swarm.network.release(); // gradients of the attempt before: nobody wants them
    swarm.start();
    expect((await swarm.trained())[0]).toMatchObject({ microbatchesDone: 6, microbatchesLost: 0 });
  });

  it("is led by nobody but the network: a roster with another signature is ignored and said", async () => {
    const swarm = new FakeSwarm(2, 1);
    await swarm.prepare();
    const roster = swarm.roster();
    swarm.tell(swarm.members, {
      type: "start",
      roster,
      signature: new Uint8Array(64),
      boundary: noCompression.boundary,
    });
    for (const { places, log } of swarm.members) {
      expect(places.state.kind).toBe("preparing");
      expect(log.join()).toContain("not signed by this network");
    }
  });

  it("ends for a replica that missed everything in between with the merge that it is told to apply", async () => {
    const swarm = new FakeSwarm(1, 2);
    await swarm.prepare();
    swarm.start();
    await swarm.trained();
    const [punctual, behind] = swarm.members;
    if (punctual === undefined || behind === undefined) throw new Error("two members");
    const order = await swarm.reduced(0, [punctual]);
    const [first, second] = await swarm.apply(0, swarm.members, order);
    expect(first?.weightsHash).toBe(second?.weightsHash);
  });

  it("is warmed up to by a joiner, which receives the merge and trains nothing", async () => {
    const swarm = new FakeSwarm(2, 2);
    const joiner = swarm.member(1, 1);
    const others = swarm.members.filter((member) => member !== joiner);
    await swarm.prepare(others);
    swarm.start(others);
    await swarm.prepare([joiner]);
    await swarm.trained();
    const order = await swarm.reduced(1, [swarm.member(1, 0)]);
    const [merged, joined] = await swarm.apply(1, swarm.inStage(1), order);
    expect(joined?.weightsHash).toBe(merged?.weightsHash);
    expect(swarm.engine(joiner).trained).toEqual([]);
  });
});
