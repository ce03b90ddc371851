import { describe, expect, it } from "vitest";
import { FailureError } from "../../protocol/failure.ts";
import { FakeSwarm } from "./fake-swarm.ts";

const nonFinite = () => new FailureError("compute-non-finite", "NaN in a test");

describe("a replica that dies", () => {
  const shape = { microbatchesPerStep: 2, stepsPerEpoch: 1 };

  async function deliveriesOfAnEpoch(): Promise<number> {
    const swarm = new FakeSwarm(3, 2, shape);
    let deliveries = 0;
    swarm.network.fate = () => {
      deliveries += 1;
      return "deliver";
    };
    await swarm.prepare();
    swarm.start();
    await swarm.trained();
    return deliveries;
  }

  it.each([0, 1, 2, 3, 4, 5])(
    "at whatever moment costs the others nothing, and 3 s at most: number %i of 6",
    async (number) => {
      const moments = await deliveriesOfAnEpoch();
      expect(moments).toBeGreaterThan(40);
      for (let moment = 1; moment <= moments; moment++) {
        const swarm = new FakeSwarm(3, 2, shape);
        const victim = swarm.members[number];
        if (victim === undefined) throw new Error("nobody");
        const rest = swarm.members.filter((member) => member !== victim);
        let deliveries = 0;
        let diedAtMs = 0;
        swarm.network.fate = () => {
          deliveries += 1;
          if (deliveries === moment) {
            swarm.kill(victim, rest);
            diedAtMs = swarm.clock.nowMs();
          }
          return "deliver";
        };
        await swarm.prepare();
        swarm.start();
        const sources = swarm.inStage(0, rest);
        for (const done of await swarm.trained(sources))
          expect(done).toMatchObject({ microbatchesDone: 2, microbatchesLost: 0 });
        expect(swarm.clock.nowMs() - diedAtMs).toBeLessThan(3000);
        for (const source of sources)
          for (const microbatch of swarm.engine(source).trained)
            for (const stage of [1, 2]) expect(swarm.trainedIn(stage).get(microbatch)).toBeGreaterThanOrEqual(1);
        for (const member of rest) {
          await swarm.until(() => swarm.engine(member).calls.includes("step"));
          expect(swarm.engine(member).kept).toEqual([]);
        }
      }
    },
  );

  it("is noticed when it cannot be sent to, before any roster says so", async () => {
    const swarm = new FakeSwarm(2, 2);
    await swarm.prepare();
    swarm.kill(swarm.member(1, 0), [], true);
    swarm.start();
    for (const done of await swarm.trained()) expect(done).toMatchObject({ microbatchesDone: 6, microbatchesLost: 0 });
    expect(swarm.clock.nowMs()).toBeLessThan(3000);
  });

  it("as the only one of its stage makes the sources wait for another roster", async () => {
    const swarm = new FakeSwarm(2, 2);
    const [first, second] = swarm.inStage(1);
    if (first === undefined || second === undefined) throw new Error("two members");
    const early = swarm.members.filter((member) => member !== second);
    await swarm.prepare();
    swarm.start(early);
    await swarm.turns(5);
    const sources = swarm.inStage(0);
    swarm.kill(first, sources);
    await swarm.turns(5000);
    for (const { places, sent } of sources) {
      expect(places.state.kind).toBe("training");
      expect(sent.some(({ type }) => type === "source-done")).toBe(false);
    }
    const back = [...sources, second];
    const roster = swarm.roster(back);
    swarm.announce("start", [second], roster);
    swarm.announce("roster", sources, roster);
    for (const done of await swarm.trained()) expect(done).toMatchObject({ microbatchesDone: 6, microbatchesLost: 0 });
  });
});

describe("a lost message", () => {
  it.each(["forward", "backward", "flush", "answer"] as const)(
    "is sent again after 2 s, and nothing twice: %s",
    async (kind) => {
      const swarm = new FakeSwarm(3, 2);
      let dropped = 0;
      swarm.network.fate = (message) => (message.kind === kind && dropped++ < 3 ? "drop" : "deliver");
      await swarm.prepare();
      swarm.start();
      for (const done of await swarm.trained())
        expect(done).toMatchObject({ microbatchesDone: 6, microbatchesLost: 0 });
      for (const stage of [0, 1, 2])
        expect(swarm.trainedIn(stage)).toEqual(new Map(Array.from({ length: 12 }, (_, microbatch) => [microbatch, 1])));
      expect(swarm.clock.nowMs()).toBeLessThan(10_000);
    },
  );

  it("that is lost each time makes the sender take another replica", async () => {
    const swarm = new FakeSwarm(3, 2);
    const deaf = swarm.member(1, 0);
    swarm.network.fate = ({ to }) => (to === deaf.id ? "drop" : "deliver");
    await swarm.prepare();
    swarm.start();
    await swarm.until(() => swarm.inStage(0).every((source) => swarm.engine(source).calls.includes("step")));
    expect(swarm.engine(deaf).trained).toEqual([]);
    const reports = await Promise.all(swarm.inStage(0).map((source) => swarm.heard(source, "progress")));
    expect(Math.max(...reports.map(({ microbatchesRerouted }) => microbatchesRerouted))).toBeGreaterThan(0);
  });

  it("never brings a source to a halt: at its deadline a microbatch counts as lost", async () => {
    const swarm = new FakeSwarm(2, 1, { stepsPerEpoch: 1 });
    const [source, last] = swarm.members;
    if (source === undefined || last === undefined) throw new Error("two members");
    // The last stage takes it and never brings it to its end.
    swarm.network.fate = ({ kind }) => (kind === "backward" ? "drop" : "deliver");
    await swarm.prepare();
    swarm.start();
    await swarm.until(() => swarm.engine(last).trained.length === 3);
    swarm.clock.advance(100_000);
    expect((await swarm.trained())[0]).toMatchObject({ microbatchesDone: 0, microbatchesLost: 3 });
    await swarm.turns(10);
    expect(swarm.engine(source).kept).toEqual([]);
  });
});

describe("a fault", () => {
  it.each([1, 2])("of numbers in stage %i drops the microbatch everywhere at once, and counts it", async (stage) => {
    const swarm = new FakeSwarm(3, 1);
    const method = stage === 2 ? "forwardBackward" : "forward";
    await swarm.prepare();
    for (const engines of swarm.member(stage, 0).engines)
      engines.failing = (called, call) => (called === method && call === 2 ? nonFinite() : null);
    swarm.start();
    expect((await swarm.trained())[0]).toMatchObject({ microbatchesDone: 5, microbatchesLost: 1 });
    expect(swarm.clock.nowMs()).toBeLessThan(2000);
    for (const member of swarm.members) expect(swarm.engine(member).kept).toEqual([]);
  });

  it("of numbers is told again when its answer was lost", async () => {
    const swarm = new FakeSwarm(2, 1);
    const last = swarm.member(1, 0);
    await swarm.prepare();
    swarm.network.fate = ({ kind, body }) => (kind === "answer" && body[19] === 4 ? "drop" : "deliver"); // `lost`
    for (const engines of last.engines)
      engines.failing = (called, call) => (called === "forwardBackward" && call === 2 ? nonFinite() : null);
    swarm.start();
    await swarm.until(() => swarm.engine(last).trained.length === 2);
    await swarm.turns(10);
    swarm.network.fate = () => "deliver";
    expect((await swarm.trained())[0]).toMatchObject({ microbatchesDone: 5, microbatchesLost: 1 });
    expect(swarm.clock.nowMs()).toBeLessThan(20_000);
  });

  it("of memory for one more microbatch in flight costs that microbatch only", async () => {
    const swarm = new FakeSwarm(2, 1);
    await swarm.prepare();
    for (const engines of swarm.member(0, 0).engines)
      engines.failing = (method, call) =>
        method === "forward" && call === 2 ? new FailureError("memory-full", "no room in a test") : null;
    swarm.start();
    expect((await swarm.trained())[0]).toMatchObject({ microbatchesDone: 5, microbatchesLost: 1 });
  });

  it("of numbers that repeats makes the replica give up its place", async () => {
    const swarm = new FakeSwarm(2, 1);
    const last = swarm.member(1, 0);
    await swarm.prepare();
    for (const engines of last.engines)
      engines.failing = (method) => (method === "forwardBackward" ? nonFinite() : null);
    swarm.start();
    expect((await swarm.heard(last, "failed")).failure.code).toBe("compute-non-finite");
  });
});
