import { describe, expect, it } from "vitest";
import { encodeBody } from "../../protocol/merge-messages.ts";
import { type FakeMember, FakeSwarm } from "./fake-swarm.ts";

const onceEach = (count: number) => new Map(Array.from({ length: count }, (_, microbatch) => [microbatch, 1]));
const reportsOf = (member: FakeMember, type: string) => member.sent.filter((message) => message.type === type);

/** The orchestrator's words to a miner that is back in mid-epoch. */
function welcomeBack(swarm: FakeSwarm, members: readonly FakeMember[], listed: FakeMember[]): void {
  const roster = swarm.roster(listed);
  swarm.announce("start", members, roster);
  swarm.announce(
    "roster",
    swarm.members.filter((member) => !members.includes(member) && listed.includes(member)),
    roster,
  );
}

describe("a miner whose session is lost", () => {
  it("keeps its places and names them when it is back, and says again what may not have been heard", async () => {
    const swarm = new FakeSwarm(2, 1);
    const [source] = swarm.members;
    if (source === undefined) throw new Error("a source");
    await swarm.prepare();
    swarm.disconnect(source);
    expect(source.places.state).toEqual({ kind: "connecting", reason: "The connection was closed." });
    swarm.reconnect(source);
    expect(source.sent.slice(-2)).toMatchObject([
      { type: "join", held: [{ ...swarm.at, stage: 0 }] },
      { type: "ready", at: { ...swarm.at, stage: 0 } },
    ]);
    expect(source.places.state.kind).toBe("preparing");
  });

  it.each([0, 1, 2])("goes on where it was, and trains nothing twice (stage %i)", async (stage) => {
    const swarm = new FakeSwarm(3, 1, { microbatchesPerStep: 4 });
    const member = swarm.member(stage, 0);
    await swarm.prepare();
    swarm.start();
    await swarm.until(() => swarm.engine(member).trained.length === 2);
    swarm.disconnect(member);
    await swarm.turns(30_000);
    expect(swarm.members.flatMap((any) => reportsOf(any, "failed"))).toEqual([]);
    swarm.reconnect(member);
    await swarm.turns(10);
    welcomeBack(swarm, [member], swarm.members);
    expect((await swarm.trained())[0]).toMatchObject({ microbatchesDone: 8, microbatchesLost: 0 });
    for (const each of [0, 1, 2]) expect(swarm.trainedIn(each)).toEqual(onceEach(8));
  });

  it("is replaced meanwhile: the others go on without it within 3 s", async () => {
    const swarm = new FakeSwarm(3, 2, { microbatchesPerStep: 4 });
    const away = swarm.member(1, 0);
    const rest = swarm.members.filter((member) => member !== away);
    await swarm.prepare();
    swarm.start();
    await swarm.until(() => swarm.engine(away).trained.length === 1);
    swarm.disconnect(away);
    swarm.announce("roster", rest, swarm.roster(rest));
    const atMs = swarm.clock.nowMs();
    for (const done of await swarm.trained()) expect(done).toMatchObject({ microbatchesDone: 8, microbatchesLost: 0 });
    expect(swarm.clock.nowMs() - atMs).toBeLessThan(3000);
    // When it is back, what it still holds is over, and it is in step with the others.
    swarm.reconnect(away);
    welcomeBack(swarm, [away], swarm.members);
    await swarm.until(() => swarm.engine(away).calls.filter((call) => call === "step").length === 2);
    expect(swarm.engine(away).kept).toEqual([]);
  });

  it("takes part again after 10 s, from whatever step the others have come to", async () => {
    const swarm = new FakeSwarm(2, 2, { stepsPerEpoch: 40 });
    const away = swarm.member(1, 0);
    const rest = swarm.members.filter((member) => member !== away);
    await swarm.prepare();
    for (const { engines } of swarm.members) for (const each of engines) each.turnsPerCall = 40;
    swarm.start();
    await swarm.until(() => swarm.engine(away).calls.includes("step"));
    swarm.disconnect(away);
    swarm.announce("roster", rest, swarm.roster(rest));
    await swarm.turns(10_000);
    const before = swarm.engine(away).trained.length;
    swarm.reconnect(away);
    welcomeBack(swarm, [away], swarm.members);
    for (const done of await swarm.trained()) expect(done.microbatchesLost).toBe(0);
    expect(swarm.engine(away).trained.length).toBeGreaterThan(before);
    await swarm.until(() => swarm.engine(away).calls.filter((call) => call === "step").length === 40);
  });

  it("gives nobody up because the network itself was away, though all come back one by one", async () => {
    const swarm = new FakeSwarm(3, 2, { microbatchesPerStep: 4 });
    await swarm.prepare();
    swarm.start();
    await swarm.until(() => swarm.inStage(0).every((source) => swarm.engine(source).trained.length > 0));
    for (const member of swarm.members) swarm.disconnect(member);
    await swarm.turns(20_000);
    const back: FakeMember[] = [];
    for (const member of swarm.members) {
      swarm.reconnect(member);
      back.push(member);
      const roster = swarm.roster(back);
      swarm.announce("start", [member], roster);
      swarm.announce("roster", back, roster);
      await swarm.turns(500);
    }
    for (const done of await swarm.trained()) expect(done).toMatchObject({ microbatchesDone: 8, microbatchesLost: 0 });
    for (const stage of [0, 1, 2]) expect(swarm.trainedIn(stage)).toEqual(onceEach(16));
  });

  it("gives those up who do not come back themselves", async () => {
    const swarm = new FakeSwarm(2, 2);
    const dead = swarm.member(1, 0);
    const rest = swarm.members.filter((member) => member !== dead);
    await swarm.prepare();
    for (const engines of dead.engines) engines.turnsPerCall = 1_000_000;
    swarm.start();
    await swarm.turns(100);
    for (const member of swarm.members) swarm.disconnect(member);
    for (const member of rest) swarm.reconnect(member);
    welcomeBack(swarm, rest, rest);
    for (const done of await swarm.trained()) expect(done).toMatchObject({ microbatchesDone: 6, microbatchesLost: 0 });
    expect(swarm.clock.nowMs()).toBeLessThan(10_000);
  });

  it("that slept through the rest of the epoch holds its start still, and warms up to the next", async () => {
    const swarm = new FakeSwarm(2, 2);
    const asleep = swarm.member(1, 1);
    const rest = swarm.members.filter((member) => member !== asleep);
    await swarm.prepare();
    swarm.start();
    await swarm.until(() => swarm.engine(asleep).calls.includes("step"));
    swarm.disconnect(asleep);
    swarm.announce("roster", rest, swarm.roster(rest));
    await swarm.trained();
    swarm.reconnect(asleep);
    // Its grace is over: to the orchestrator it is a newcomer.
    asleep.places.handle(await swarm.place(1));
    expect(asleep.sent.at(-1)).toMatchObject({ type: "ready", at: { ...swarm.at, stage: 1 } });
    const order = await swarm.reduced(1, swarm.inStage(1, rest));
    const [merged, woken] = await swarm.apply(1, swarm.inStage(1), order);
    expect(woken?.weightsHash).toBe(merged?.weightsHash);
  });
});

describe("a report", () => {
  it("is said again, ever more seldom, until the next command comes", async () => {
    const swarm = new FakeSwarm(1, 1);
    const [member] = swarm.members;
    if (member === undefined) throw new Error("a member");
    await swarm.prepare();
    await swarm.turns(11_000);
    expect(reportsOf(member, "ready")).toHaveLength(4);
    swarm.start();
    await swarm.trained();
    await swarm.turns(11_000);
    expect(reportsOf(member, "ready")).toHaveLength(4);
    expect(reportsOf(member, "source-done")).toHaveLength(4);
    const order = await swarm.reduced(0, [member]);
    await swarm.turns(11_000);
    expect(reportsOf(member, "source-done")).toHaveLength(4);
    expect(reportsOf(member, "reduced").length).toBeGreaterThanOrEqual(4);
    await swarm.apply(0, [member], order);
    await swarm.turns(11_000);
    expect(reportsOf(member, "merged")).toHaveLength(4);
  });

  it("is made out of turn by who trains and finds the others merging: its own command may be lost", async () => {
    const swarm = new FakeSwarm(2, 2);
    await swarm.prepare();
    swarm.start();
    await swarm.trained();
    const [told, untold] = swarm.inStage(1);
    if (told === undefined || untold === undefined) throw new Error("two replicas");
    const readyBefore = reportsOf(untold, "ready").length;
    told.places.handle({ type: "upload", at: { ...swarm.at, stage: 1 }, replicas: [told.id, untold.id] });
    await swarm.until(() => reportsOf(untold, "ready").length > readyBefore);
    expect(swarm.clock.nowMs()).toBeLessThan(10_000);
  });

  it("is not made more often for a replica that speaks of merging all the time, nor for one that does not belong", async () => {
    const swarm = new FakeSwarm(2, 2);
    await swarm.prepare();
    swarm.start();
    await swarm.trained();
    const [rogue, honest] = swarm.inStage(1);
    const [stranger] = swarm.inStage(0);
    if (rogue === undefined || honest === undefined || stranger === undefined) throw new Error("three miners");
    const readyBefore = reportsOf(honest, "ready").length;
    const flood = async ({ link }: typeof rogue, stage: number) => {
      const offer = encodeBody({ type: "offer", at: { ...swarm.at, stage }, tokens: 1, slices: [] });
      for (let count = 0; count < 100; count++) await link.send(honest.id, "merge", offer);
      await swarm.turns(500);
    };
    await flood(stranger, 1);
    expect(reportsOf(honest, "ready")).toHaveLength(readyBefore);
    await flood(rogue, 1);
    expect(reportsOf(honest, "ready")).toHaveLength(readyBefore + 1);
  });

  it("is made out of turn by who trains when nothing comes any more", async () => {
    const swarm = new FakeSwarm(2, 1);
    await swarm.prepare();
    swarm.start();
    await swarm.trained();
    const last = swarm.member(1, 0);
    const readyBefore = reportsOf(last, "ready").length;
    await swarm.turns(14_000);
    expect(reportsOf(last, "ready")).toHaveLength(readyBefore);
    await swarm.turns(2_000);
    expect(reportsOf(last, "ready").length).toBeGreaterThan(readyBefore);
  });
});
