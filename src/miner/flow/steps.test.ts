import { describe, expect, it } from "vitest";
import { type FakeMember, FakeSwarm } from "./fake-swarm.ts";

/** The most steps by which a forward pass was ahead of the replica that computed it. */
function furthestAhead(swarm: FakeSwarm, member: FakeMember): number {
  const inStep = swarm.inStage(0).length * swarm.training.microbatchesPerStep;
  let stepsTaken = 0;
  let furthest = 0;
  for (const { method, microbatch } of swarm.engine(member).history) {
    if (method === "step") stepsTaken += 1;
    if ((method === "forward" || method === "forwardBackward") && microbatch !== null)
      furthest = Math.max(furthest, Math.floor(microbatch / inStep) - stepsTaken);
  }
  return furthest;
}

const stepsOf = (swarm: FakeSwarm, member: FakeMember) =>
  swarm.engine(member).calls.filter((call) => call === "step").length;

const progressOf = async (swarm: FakeSwarm, member: FakeMember) => {
  await swarm.turns(1000); // for the next report
  return swarm.heard(member, "progress");
};

describe("a step", () => {
  it.each([1, 2, 3, 4])("is taken by everybody before anything of the next is computed (seed %i)", async (seed) => {
    const swarm = new FakeSwarm(3, 3, { stepsPerEpoch: 4 }, { seed });
    delaySomeFlushes(swarm);
    await swarm.prepare();
    swarm.start();
    for (const done of await swarm.trained()) expect(done.microbatchesLost).toBe(0);
    await swarm.until(() => swarm.members.every((member) => stepsOf(swarm, member) === 4));
    for (const member of swarm.members) expect(furthestAhead(swarm, member)).toBe(0);
    for (const member of swarm.members) expect((await progressOf(swarm, member)).stalenessSum).toBe(0);
  });

  it.each([1, 2])("may be overtaken by as many steps as the run allows, and that is counted: %i", async (allowed) => {
    const swarm = new FakeSwarm(3, 2, { microbatchesPerStep: 1, stepsPerEpoch: 5, maximumStaleness: allowed });
    // Gradients that take long let sources and middle run ahead.
    swarm.network.fate = (message) => {
      if (message.kind !== "backward") return "deliver";
      swarm.clock.after(30, () => swarm.network.release((due) => due === message));
      return "hold";
    };
    await swarm.prepare();
    swarm.start();
    for (const done of await swarm.trained()) expect(done).toMatchObject({ microbatchesDone: 5, microbatchesLost: 0 });
    await swarm.until(() => swarm.members.every((member) => stepsOf(swarm, member) === 5));
    const furthest = swarm.members.map((member) => furthestAhead(swarm, member));
    expect(Math.max(...furthest)).toBe(allowed);
    const reports = await Promise.all(swarm.inStage(0).map((member) => progressOf(swarm, member)));
    const most = reports.map(({ stalenessMost }) => stalenessMost);
    expect(Math.max(...most)).toBeGreaterThan(0);
    expect(Math.max(...most)).toBeLessThanOrEqual(allowed);
    for (const report of reports) expect(report.stalenessSum).toBeGreaterThanOrEqual(report.stalenessMost);
  });

  it("is taken by who missed its marker when it hears of a later one", async () => {
    const swarm = new FakeSwarm(2, 1, { stepsPerEpoch: 3, maximumStaleness: 2 });
    const [, last] = swarm.members;
    if (last === undefined) throw new Error("two members");
    let markers = 0;
    swarm.network.fate = ({ kind }) => (kind === "flush" && ++markers < 3 ? "drop" : "deliver");
    await swarm.prepare();
    swarm.start();
    await swarm.trained();
    await swarm.until(() => stepsOf(swarm, last) === 3);
    expect(markers).toBeLessThanOrEqual(4);
  });

  it("does not wait for a source that was lost", async () => {
    const swarm = new FakeSwarm(3, 2);
    const [survivor, victim] = swarm.inStage(0);
    if (survivor === undefined || victim === undefined) throw new Error("two sources");
    swarm.network.fate = ({ from, kind }) => (from === victim.id && kind === "flush" ? "drop" : "deliver");
    await swarm.prepare();
    swarm.start();
    await swarm.until(
      () => swarm.engine(survivor).calls.includes("step") && swarm.engine(victim).calls.includes("step"),
    );
    await swarm.turns(300);
    const later = swarm.members.filter(({ stages }) => stages[0] !== 0);
    expect(later.map((member) => stepsOf(swarm, member))).toEqual([0, 0, 0, 0]);
    swarm.kill(victim);
    await swarm.trained([survivor]);
    await swarm.until(() => later.every((member) => stepsOf(swarm, member) === 2));
    for (const member of later) expect(swarm.engine(member).kept).toEqual([]);
  });

  it("that is over makes what belongs to it stale: it is dropped and counted", async () => {
    const swarm = new FakeSwarm(2, 2);
    const [quick, slow] = swarm.inStage(0);
    if (quick === undefined || slow === undefined) throw new Error("two sources");
    swarm.network.fate = ({ from, kind }) => (from === slow.id && kind === "forward" ? "hold" : "deliver");
    await swarm.prepare();
    swarm.start();
    await swarm.until(() => swarm.engine(slow).kept.length === 3);
    // The network says that it is gone; its microbatches arrive all the same, when the others have stepped.
    const rest = swarm.members.filter((member) => member !== slow);
    swarm.announce("roster", rest, swarm.roster(rest));
    await swarm.trained([quick]);
    await swarm.until(() => swarm.inStage(1).every((member) => stepsOf(swarm, member) === 2));
    swarm.network.fate = () => "deliver";
    swarm.network.release();
    await swarm.until(() => swarm.engine(slow).kept.length === 0);
    const stale = await Promise.all(swarm.inStage(1).map((member) => progressOf(swarm, member)));
    expect(stale.reduce((sum, { microbatchesStale }) => sum + microbatchesStale, 0)).toBeGreaterThanOrEqual(3);
    expect((await swarm.trained([slow]))[0]).toMatchObject({ microbatchesDone: 0, microbatchesLost: 6 });
  });
});

/** By up to 300 ms. */
function delaySomeFlushes(swarm: FakeSwarm): void {
  swarm.network.fate = (message) => {
    if (message.kind !== "flush" || swarm.clock.random() < 0.5) return "deliver";
    swarm.clock.after(300 * swarm.clock.random(), () => swarm.network.release((due) => due === message));
    return "hold";
  };
}
