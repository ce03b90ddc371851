import { describe, expect, it } from "vitest";
import { FakeClock } from "../session/fake-clock.ts";
import { FakeSwarm } from "./fake-swarm.ts";

describe("while messages are lost, doubled, reordered and delayed", () => {
  it.each([1, 2, 3, 4, 5, 6])(
    "an epoch of 3 × 3 replicas trains every microbatch once in each stage (seed %i)",
    async (seed) => {
      const swarm = new FakeSwarm(3, 3, {}, { seed });
      disturb(swarm, seed);
      await swarm.prepare();
      swarm.start();
      for (const done of await swarm.trained())
        expect(done).toMatchObject({ microbatchesDone: 6, microbatchesLost: 0 });
      for (const stage of [0, 1, 2])
        expect([...swarm.trainedIn(stage)].toSorted(([a], [b]) => a - b)).toEqual(
          Array.from({ length: 18 }, (_, microbatch) => [microbatch, 1]),
        );
      await swarm.until(() => swarm.members.every((member) => stepsOf(swarm, member) === 2));
      for (const member of swarm.members) expect(swarm.engine(member).kept).toEqual([]);
    },
  );

  it.each([1, 2, 3, 4, 5, 6, 7, 8, 9])(
    "an epoch ends although replica %i of 3 × 3 dies in its middle",
    async (number) => {
      const swarm = new FakeSwarm(3, 3, { stepsPerEpoch: 3 }, { seed: number });
      disturb(swarm, number);
      await swarm.prepare();
      const victim = swarm.members[number - 1];
      if (victim === undefined) throw new Error("nobody");
      const rest = swarm.members.filter((member) => member !== victim);
      swarm.start();
      await swarm.until(() => rest.some((member) => stepsOf(swarm, member) === 1));
      swarm.kill(victim);
      for (const done of await swarm.trained(swarm.inStage(0, rest)))
        expect(done).toMatchObject({ microbatchesDone: 9, microbatchesLost: 0 });
      await swarm.until(() => rest.every((member) => stepsOf(swarm, member) === 3));
      for (const member of rest) expect(swarm.engine(member).kept).toEqual([]);
    },
  );
});

function stepsOf(swarm: FakeSwarm, member: FakeSwarm["members"][number]): number {
  return swarm.engine(member).calls.filter((call) => call === "step").length;
}

/** 5 % lost, 5 % doubled, and as many again held back for up to some seconds, in which others overtake them. */
function disturb(swarm: FakeSwarm, seed: number): void {
  const chance = new FakeClock(seed + 1000);
  const dueAtMs = new Map<object, number>();
  swarm.network.fate = (message) => {
    const draw = chance.random();
    if (draw < 0.05) return "drop";
    if (draw < 0.1) return "double";
    if (draw > 0.2) return "deliver";
    dueAtMs.set(message, swarm.clock.nowMs() + 2000 * chance.random());
    return "hold";
  };
  const release = () => {
    swarm.network.release((message) => (dueAtMs.get(message) ?? 0) <= swarm.clock.nowMs());
    swarm.clock.after(1, release);
  };
  release();
}
