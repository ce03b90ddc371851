import { describe, expect, it } from "vitest";
import { FakeSwarm, fakeDefinition, fakeMiner } from "./fake-swarm.ts";
import { liveReplicas } from "./replicas.ts";
import { nextDeadlineMs } from "./state.ts";
import { viewOf } from "./view.ts";

const everyone = [1, 2, 3, 4, 5, 6];
/** Joined in turn, miners 1 and 5 hold the first stage, 2 and 6 the second, 3 and 4 the third. */
function fullSwarm(definition = fakeDefinition()): FakeSwarm {
  const swarm = new FakeSwarm(definition);
  swarm.join(...everyone);
  return swarm;
}
const stages = ({ state }: FakeSwarm) =>
  state.stages.map(({ spec }) => liveReplicas(state, spec.index).map(({ minerId }) => Number.parseInt(minerId, 16)));
const receivers = (sent: readonly { readonly to: string }[]) => sent.map(({ to }) => Number.parseInt(to, 16));

describe("a session that ends", () => {
  it("takes its miner off the roster at once, and leaves the others training", () => {
    const swarm = fullSwarm();
    swarm.reach("training");
    const effects = swarm.happen({ type: "session-closed", minerId: fakeMiner(6) });
    expect(swarm.state.phase.name).toBe("training");
    const rosters = swarm.sent("roster", effects);
    expect(receivers(rosters)).toEqual([1, 5, 2, 3, 4]);
    expect(rosters[0]?.message.roster.stages[1]?.map(({ minerId }) => minerId)).toEqual([fakeMiner(2)]);
    expect(viewOf(swarm.state).stages[1]?.replicas.map((replica) => replica.state)).toEqual(["training", "lost"]);
  });

  it("costs nothing when the miner is back within the grace with the state it held", () => {
    const swarm = fullSwarm();
    swarm.reach("training");
    swarm.lose(6);
    swarm.nowMs += 2900;
    const before = swarm.events.length;
    swarm.join(6);
    expect(swarm.events).toHaveLength(before + 1);
    expect(receivers(swarm.sent("start")).filter((index) => index === 6)).toHaveLength(2);
    expect(stages(swarm)[1]).toEqual([2, 6]);
    swarm.finishEpoch();
    expect(swarm.state.epochs[0]).toMatchObject({ contributors: 6 });
  });

  it("makes a miner that was started anew meanwhile warm up", () => {
    const swarm = fullSwarm();
    swarm.reach("training");
    swarm.lose(6);
    swarm.miner(fakeMiner(6)).forget();
    swarm.join(6);
    expect(receivers(swarm.sent("prepare")).at(-1)).toBe(6);
    expect(stages(swarm)[1]).toEqual([2]);
    swarm.finishEpoch();
    expect(swarm.state.epochs[0]).toMatchObject({ contributors: 5 });
    swarm.reach("training");
    expect(stages(swarm)[1]).toEqual([2, 6]);
  });

  it("is waited for in every phase until the grace is over, and no longer", () => {
    for (const phase of ["preparing", "training", "uploading", "merging"] as const) {
      const swarm = fullSwarm();
      swarm.reach(phase);
      swarm.lose(5);
      for (const index of [1, 2, 3, 4, 6]) swarm.answer(fakeMiner(index));
      expect(swarm.state.phase.name).toBe(phase);
      swarm.nowMs += 2999;
      swarm.happen({ type: "deadline" });
      expect(swarm.state.phase.name).toBe(phase);
      swarm.nowMs += 1;
      swarm.happen({ type: "deadline" });
      expect(swarm.state.members.map(({ minerId }) => minerId)).not.toContain(fakeMiner(5));
      swarm.finishEpoch([fakeMiner(5)]);
      expect(swarm.state.epochs[0]?.partitionsLost).toBe(0);
    }
  });

  it("is over when the miner reports, even if its join was lost", () => {
    const swarm = fullSwarm();
    swarm.reach("uploading");
    swarm.lose(5);
    swarm.answer(fakeMiner(5));
    expect(swarm.state.away).toEqual([]);
    swarm.finishEpoch();
    expect(swarm.state.epochs[0]?.contributors).toBe(6);
  });
});

describe("losses", () => {
  it("a returning miner gets its former stage back", () => {
    const swarm = fullSwarm();
    swarm.finishEpoch();
    swarm.reach("training");
    swarm.loseForGood(6, 5);
    swarm.join(6);
    swarm.join(5);
    swarm.finishEpoch();
    swarm.reach("training");
    expect(stages(swarm)).toEqual([
      [1, 5],
      [2, 6],
      [3, 4],
    ]);
  });

  it("a source that is lost for good is not waited for", () => {
    const swarm = fullSwarm();
    swarm.reach("training");
    swarm.answer(fakeMiner(1));
    expect(swarm.state.phase.name).toBe("training");
    swarm.loseForGood(5);
    expect(swarm.state.phase.name).toBe("uploading");
  });

  it("a contribution counts though its replica is lost afterwards", () => {
    const swarm = fullSwarm();
    swarm.reach("uploading");
    swarm.answer(fakeMiner(2));
    swarm.loseForGood(2);
    swarm.finishEpoch();
    expect(swarm.state.epochs[0]?.contributors).toBe(6);
    swarm.finishUpload();
    const credited = swarm.effects.find((one) => one.type === "credit" && one.receipt.minerId === fakeMiner(2));
    expect(credited).toMatchObject({ receipt: { checks: ["contribution-size"] } });
  });

  it("a stage without anybody waits for the grace, then the epoch starts again with a miner from another stage", () => {
    const swarm = fullSwarm();
    swarm.finishEpoch();
    swarm.finishUpload();
    swarm.reach("training");
    const { checkpoint } = swarm.state;
    swarm.lose(2, 6);
    expect(swarm.state).toMatchObject({ epoch: 1, attempt: 0, phase: { name: "training" } });
    swarm.nowMs += 3000;
    const effects = swarm.happen({ type: "deadline" });
    expect(swarm.state).toMatchObject({ epoch: 1, attempt: 1, phase: { name: "preparing" } });
    expect(
      stages(swarm)
        .map((replicas) => replicas.length)
        .sort(),
    ).toEqual([1, 1, 2]);
    const moved = swarm.sent("prepare", effects).find(({ message }) => message.at.stage === 1);
    expect(moved?.message.checkpoint?.weights).toEqual(checkpoint?.stages[1]?.weights);
  });

  it("a stage whose last replica comes back without its state starts the epoch again at once", () => {
    const swarm = fullSwarm();
    swarm.reach("training");
    swarm.loseForGood(2);
    swarm.lose(6);
    swarm.miner(fakeMiner(6)).forget();
    swarm.join(6);
    expect(swarm.state).toMatchObject({ epoch: 0, attempt: 1, phase: { name: "preparing" } });
  });

  it("waits, and says for what, while a stage has nobody", () => {
    const swarm = fullSwarm(fakeDefinition({ minimumReplicas: 1 }));
    swarm.reach("training");
    const effects = swarm.loseForGood(4, 5, 6, 1);
    expect(swarm.state.phase.name).toBe("waiting");
    expect(swarm.sent("idle", effects).map(({ message }) => message.reason)).toEqual([
      "Stage 1 of 3 has no miner.",
      "Stage 1 of 3 has no miner.",
    ]);
    swarm.join(1);
    expect(swarm.state.phase.name).toBe("preparing");
  });

  it("attempts that fail are repeated at once, then ever more slowly", () => {
    const swarm = new FakeSwarm(fakeDefinition({ stages: 1, minimumReplicas: 1 }));
    swarm.join(1);
    const failure = { code: "compute-crashed", message: "crashed", action: "", retry: true } as const;
    const pauses: number[] = [];
    for (let attempt = 0; attempt < 9; attempt++) {
      swarm.say(fakeMiner(1), { type: "failed", at: swarm.report(1, "ready").at, failure });
      const failedAtMs = swarm.nowMs;
      if (swarm.state.phase.name === "waiting") swarm.runOutOfTime();
      pauses.push(swarm.nowMs - failedAtMs);
      expect(swarm.state.phase.name).toBe("preparing");
    }
    expect(pauses).toEqual([0, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
  });

  it("a replica that failed warms up when it asks for work again", () => {
    const swarm = fullSwarm();
    swarm.reach("training");
    const failure = { code: "compute-crashed", message: "crashed", action: "", retry: true } as const;
    const { at } = swarm.report(2, "ready");
    swarm.say(fakeMiner(2), { type: "failed", at, failure });
    expect(stages(swarm)[1]).toEqual([6]);
    swarm.miner(fakeMiner(2)).forget();
    swarm.join(2);
    swarm.finishEpoch();
    swarm.reach("training");
    expect(stages(swarm)[1]).toEqual([2, 6]);
  });
});

describe("a swarm that comes back", () => {
  it("is told of in few rosters, not in one for each miner", () => {
    const swarm = fullSwarm();
    swarm.reach("training");
    swarm.lose(...everyone);
    const before = swarm.state.roster.announced.version;
    expect(swarm.state.roster.announced.stages.flat()).toHaveLength(5);
    for (const index of everyone) swarm.join(index);
    expect(swarm.state.roster.announced.version).toBe(before);
    expect(nextDeadlineMs(swarm.state)).toBe(swarm.nowMs + 250);
    const effects = swarm.runOutOfTime();
    // The first that went was told of in a roster of its own, and so has to start again.
    expect(receivers(swarm.sent("roster", effects)).sort()).toEqual(everyone.slice(1));
    expect(receivers(swarm.sent("start", effects))).toEqual([1]);
    expect(swarm.state.roster.announced.version).toBe(before + 1);
  });
});

describe("a restart of the orchestrator", () => {
  it("goes on where it was when the miners come back with their state", () => {
    const swarm = fullSwarm();
    swarm.finishEpoch();
    swarm.reach("training");
    swarm.happen({ type: "restarted" });
    swarm.nowMs += 14_000;
    swarm.join(...everyone);
    expect(swarm.state).toMatchObject({ epoch: 1, attempt: 0, phase: { name: "training" } });
    swarm.finishEpoch();
    expect(swarm.state.epochs[1]).toMatchObject({ contributors: 6 });
  });

  it("goes on without those who do not come back", () => {
    const swarm = fullSwarm();
    swarm.reach("uploading");
    swarm.happen({ type: "restarted" });
    swarm.join(1, 2, 3, 4);
    swarm.nowMs += 15_000;
    swarm.happen({ type: "deadline" });
    swarm.finishEpoch([fakeMiner(5), fakeMiner(6)]);
    expect(swarm.state.epochs[0]).toMatchObject({ contributors: 4 });
  });

  it("gives a phase its whole time again, however long it was gone", () => {
    const swarm = fullSwarm();
    swarm.reach("merging");
    swarm.nowMs += 24 * 3600 * 1000;
    swarm.happen({ type: "restarted" });
    swarm.happen({ type: "deadline" });
    swarm.join(...everyone);
    swarm.finishEpoch();
    expect(swarm.state.epochs[0]).toMatchObject({ contributors: 6, partitionsLost: 0 });
  });

  it("leaves a paused run paused", () => {
    const swarm = fullSwarm();
    swarm.happen({ type: "steered", action: "pause" });
    swarm.happen({ type: "restarted" });
    swarm.join(...everyone);
    expect(swarm.state.phase.name).toBe("paused");
  });
});

describe("what a miner says of its connection", () => {
  const link = { type: "link", upBytesPerSecond: 2.5e6, downBytesPerSecond: 12.5e6, roundTripMs: 40 } as const;
  const placedLinks = ({ state }: FakeSwarm) => state.members.map((member) => member.placedLinkBytesPerSecond);

  it("is shown, and counts when members are placed: the direction that carries less", () => {
    const swarm = fullSwarm();
    swarm.say(fakeMiner(1), link);
    const { type: _, ...report } = link;
    expect(viewOf(swarm.state).links).toEqual({ [fakeMiner(1)]: report });
    expect(placedLinks(swarm)).toEqual([2.5e6, null, null, null, null, null]);
  });

  it("moves nobody as long as it scatters", () => {
    const swarm = fullSwarm();
    for (const upBytesPerSecond of [2.5e6, 2e6, 3e6, null, 5e6])
      swarm.say(fakeMiner(1), { ...link, upBytesPerSecond, downBytesPerSecond: null });
    expect(placedLinks(swarm)[0]).toBe(5e6);
    swarm.say(fakeMiner(1), { ...link, upBytesPerSecond: 4e6 });
    expect(placedLinks(swarm)[0]).toBe(5e6);
  });

  it("moves nobody when equal lines were measured a little differently, which costs an epoch half of its sources", () => {
    const swarm = fullSwarm();
    swarm.reach("training");
    const placed = () => swarm.state.members.map(({ stages }) => stages);
    const before = placed();
    // What bounds those in the middle, who have two boundaries.
    const bytesPerSecond = 30 * (swarm.state.needs[1]?.bytesPerToken ?? 0);
    for (const [index, [stage]] of before.entries()) {
      const measured = Math.round(bytesPerSecond * (stage === 1 ? 0.75 : 1));
      const rates = { upBytesPerSecond: measured, downBytesPerSecond: measured };
      swarm.say(fakeMiner(index + 1), { ...link, ...rates });
    }
    swarm.finishEpoch();
    swarm.finishEpoch();
    expect(placed()).toEqual(before);
    expect(swarm.state.epochs[1]?.tokens).toBe(2 * (swarm.state.epochs[0]?.tokens ?? 0));
  });

  it("is ignored from who is no member", () => {
    const swarm = fullSwarm();
    const before = swarm.state;
    swarm.say(fakeMiner(9), link);
    expect(swarm.state).toBe(before);
  });
});
