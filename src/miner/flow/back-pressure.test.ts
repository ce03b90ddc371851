import { describe, expect, it } from "vitest";
import { FakeSwarm } from "./fake-swarm.ts";

describe("back-pressure", () => {
  it("gives a slow replica less, without anybody saying so", async () => {
    const swarm = new FakeSwarm(2, 2, { microbatchesPerStep: 12, stepsPerEpoch: 2 });
    const [slow, quick] = swarm.inStage(1);
    if (slow === undefined || quick === undefined) throw new Error("two replicas");
    await swarm.prepare();
    for (const engines of slow.engines) engines.turnsPerCall = 60;
    swarm.start();
    for (const done of await swarm.trained()) expect(done).toMatchObject({ microbatchesDone: 24, microbatchesLost: 0 });
    expect(swarm.engine(slow).trained.length).toBeLessThan(swarm.engine(quick).trained.length / 3);
  });

  it("gives a replica as much as its weight says", async () => {
    const swarm = new FakeSwarm(2, 2, { microbatchesPerStep: 20 });
    const [strong, weak] = swarm.inStage(1);
    if (strong === undefined || weak === undefined) throw new Error("two replicas");
    swarm.weights.set(strong.id, 9);
    await swarm.prepare();
    swarm.start();
    await swarm.trained();
    expect(swarm.engine(strong).trained.length).toBeGreaterThan(2 * swarm.engine(weak).trained.length);
  });

  it("makes a sender whose replica is full take another one, and wait when all are", async () => {
    // Four sources with three microbatches each under way; a replica has room for two each of its own.
    const swarm = new FakeSwarm(2, 4, { microbatchesPerStep: 3, stepsPerEpoch: 1 });
    const few = [...swarm.inStage(0), ...swarm.inStage(1).slice(0, 1)];
    const [only] = swarm.inStage(1);
    if (only === undefined) throw new Error("a replica");
    await swarm.prepare(few);
    for (const engines of only.engines) engines.turnsPerCall = 20;
    let saidFull = 0;
    swarm.network.fate = ({ kind, body }) => {
      if (kind === "answer" && body[19] === 1) saidFull += 1; // `full`
      return "deliver";
    };
    swarm.start(few);
    for (const done of await swarm.trained()) expect(done).toMatchObject({ microbatchesDone: 3, microbatchesLost: 0 });
    expect(saidFull).toBeGreaterThan(0);
    expect(swarm.engine(only).trained).toHaveLength(12);
  });

  it("keeps room for the current step, whatever comes of the next one", async () => {
    const swarm = new FakeSwarm(2, 3, { microbatchesPerStep: 2, stepsPerEpoch: 3 });
    const [slow] = swarm.inStage(0);
    const only = swarm.inStage(1).slice(0, 1);
    if (slow === undefined) throw new Error("a source");
    const members = [...swarm.inStage(0), ...only];
    await swarm.prepare(members);
    // The others are done with their step long before, and fill the only replica with their next one.
    for (const engines of slow.engines) engines.turnsPerCall = 400;
    swarm.start(members);
    for (const done of await swarm.trained()) expect(done).toMatchObject({ microbatchesDone: 6, microbatchesLost: 0 });
  });
});
