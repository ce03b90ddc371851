import { describe, expect, it } from "vitest";
import type { Accusation } from "../../../protocol/accusation.ts";
import { FakeSwarm, fakeDefinition, fakeHash, fakeMiner } from "./fake-swarm.ts";
import { placeRef, type RunState } from "./state.ts";

/** As the gateway passes it on: proven. */
function accusation(state: RunState, stage: number, index: number): Accusation {
  const record = (content: string) => ({
    sender: fakeMiner(index),
    content: fakeHash(content),
    signature: "00".repeat(64),
  });
  const proof = { type: "two-contents", records: [record("one"), record("other")] } as const;
  return {
    type: "accuse",
    at: placeRef(state, stage),
    kind: "forward",
    step: 0,
    index: 0,
    proof: { ...proof, records: [...proof.records] },
  };
}

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
    "is out of the epoch and earns nothing with it, whenever it is found out: %s",
    (phase) => {
      const { swarm, liar, honest, sources, earnedTokens, replica } = swarmIn(phase);
      if (phase === "uploading") swarm.answer(fakeMiner(liar));
      swarm.say(fakeMiner(honest[0] ?? 0), accusation(swarm.state, 1, liar));
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
    const proof = accusation(swarm.state, 1, liar);
    swarm.say(fakeMiner(honest[0] ?? 0), proof);
    const { state } = swarm;
    swarm.say(fakeMiner(honest[1] ?? 0), proof);
    expect(swarm.state).toBe(state);
    swarm.finishEpoch();
    swarm.reach("training");
    swarm.say(fakeMiner(honest[0] ?? 0), proof);
    expect(replica()).toMatchObject({ part: "warming", convicted: false });
  });

  it("earns nothing even if it is gone by then", () => {
    const { swarm, liar, honest, earnedTokens } = swarmIn("merging");
    const proof = accusation(swarm.state, 1, liar);
    swarm.say(fakeMiner(liar), { type: "leave", reason: "" });
    swarm.say(fakeMiner(honest[0] ?? 0), proof);
    swarm.finishEpoch();
    expect(earnedTokens().has(fakeMiner(liar))).toBe(false);
  });
});
