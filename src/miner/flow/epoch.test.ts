import { describe, expect, it } from "vitest";
import { FakeSwarm } from "./fake-swarm.ts";

describe("an epoch", () => {
  it("takes every microbatch through all stages, once in each", async () => {
    const swarm = new FakeSwarm(3, 2);
    await swarm.prepare();
    swarm.start();
    for (const done of await swarm.trained()) expect(done).toMatchObject({ microbatchesDone: 6, microbatchesLost: 0 });
    for (const stage of [0, 1, 2])
      expect([...swarm.trainedIn(stage)].toSorted(([a], [b]) => a - b)).toEqual(
        Array.from({ length: 12 }, (_, microbatch) => [microbatch, 1]),
      );
    for (const member of swarm.members) expect(swarm.engine(member).kept).toEqual([]);
  });
});
