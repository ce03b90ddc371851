import { describe, expect, it } from "vitest";
import { fakeAccusation } from "./fake-accusation.ts";
import { FakeSwarm, fakeDefinition, fakeMiner } from "./fake-swarm.ts";
import { placeRef } from "./state.ts";

describe("a miner that has signed a lie", () => {
  /** Three replicas of each stage, in that phase. */
  function swarmIn(phase: "training" | "uploading" | "merging") {
    const swarm = new FakeSwarm(fakeDefinition({ stages: 2, minimumReplicas: 3 }));
    swarm.join(1, 2, 3, 4, 5, 6);
    swarm.reach(phase);
    const ofStage = (stage: number) =>
      swarm.state.replicas[stage]?.map(({ minerId }) => Number.parseInt(minerId, 16)) ?? [];
    const [liar = 0, ...honest] = ofStage(1);
    const earnedTokens = () => new Map(swarm.state.uncredited.map((one) => [one.minerId, one.tokens]));
    const replica = () => swarm.state.replicas[1]?.find(({ minerId }) => minerId === fakeMiner(liar));
    return { swarm, liar, honest, sources: ofStage(0), earnedTokens, replica };
  }

  it.each(["training", "uploading", "merging"] as const)(
    "is out of the attempt at the epoch and earns nothing with it, whenever it is found out: %s",
    (phase) => {
      const { swarm, liar, honest, sources, earnedTokens, replica } = swarmIn(phase);
      if (phase === "uploading") swarm.answer(fakeMiner(liar));
      swarm.say(fakeMiner(honest[0] ?? 0), fakeAccusation(fakeMiner(liar))(placeRef(swarm.state, 1)));
      expect(replica()).toMatchObject({ part: "out", convicted: true });
      expect(swarm.state.members.find(({ minerId }) => minerId === fakeMiner(liar))).toMatchObject({
        convictions: 1,
        unreliable: true,
      });
      expect(swarm.state.log.at(-1)?.text).toContain("it signed different numbers for the same in stage 2 of 2");
      swarm.finishEpoch();
      const earned = earnedTokens();
      expect(earned.has(fakeMiner(liar))).toBe(false);
      for (const index of [...honest, ...sources]) expect(earned.get(fakeMiner(index))).toBeGreaterThan(0);
    },
  );

  it("is convicted once for an epoch, by whomever, and takes part in the next one", () => {
    const { swarm, liar, honest, replica } = swarmIn("training");
    const proof = fakeAccusation(fakeMiner(liar))(placeRef(swarm.state, 1));
    swarm.say(fakeMiner(honest[0] ?? 0), proof);
    const { state } = swarm;
    swarm.say(fakeMiner(honest[1] ?? 0), proof);
    expect(swarm.state).toBe(state);
    swarm.finishEpoch();
    swarm.reach("training");
    swarm.say(fakeMiner(honest[0] ?? 0), proof);
    expect(replica()).toMatchObject({ part: "warming", convicted: false });
  });

  it("may be needed, and has a place, when the epoch has to be tried again", () => {
    const swarm = new FakeSwarm(fakeDefinition({ stages: 1 }));
    swarm.join(1);
    swarm.reach("training");
    swarm.say(fakeMiner(1), fakeAccusation(fakeMiner(1))(placeRef(swarm.state, 0)));
    expect(swarm.state).toMatchObject({ epoch: 0, attempt: 1 });
    expect(swarm.state.log.map(({ text }) => text).join()).toContain("is out of this attempt at epoch 0");
    swarm.reach("training");
    swarm.finishEpoch();
    expect(swarm.state).toMatchObject({ epoch: 1 });
  });

  it("earns nothing even if it is gone by then", () => {
    const { swarm, liar, honest, earnedTokens } = swarmIn("merging");
    const proof = fakeAccusation(fakeMiner(liar))(placeRef(swarm.state, 1));
    swarm.say(fakeMiner(liar), { type: "leave", reason: "" });
    swarm.say(fakeMiner(honest[0] ?? 0), proof);
    swarm.finishEpoch();
    expect(earnedTokens().has(fakeMiner(liar))).toBe(false);
  });

  it.each(["join", "leave and join"])("does not get its place or its pay back by joining again: %s", (way) => {
    const { swarm, liar, honest, earnedTokens, replica } = swarmIn("merging");
    swarm.say(fakeMiner(honest[0] ?? 0), fakeAccusation(fakeMiner(liar))(placeRef(swarm.state, 1)));
    if (way === "leave and join") swarm.say(fakeMiner(liar), { type: "leave", reason: "" });
    swarm.join(liar);
    expect(replica()).toMatchObject({ part: "out", convicted: true });
    swarm.finishEpoch();
    expect(earnedTokens().has(fakeMiner(liar))).toBe(false);
  });
});
