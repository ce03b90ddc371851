/** The daemons' merge led by the orchestrator's core: `npm run bench -- merge` does the same with more replicas and longer vectors. */
import { describe, expect, it } from "vitest";
import { measureMerge } from "../bench/merge/measure-merge.ts";

describe("a merge that the core leads", () => {
  const shape = { parameters: 64, seed: 20_261_126, codec: { kind: "f32" } } as const;

  it("loses nothing to any one death at any moment, and is the mean of what counted", {
    timeout: 120_000,
  }, async () => {
    for (const replicas of [2, 3]) {
      const undisturbed = await measureMerge({ ...shape, replicas });
      expect(undisturbed.partitionsLost).toBe(0);
      for (let replica = 0; replica < replicas; replica++)
        for (let moment = 1; moment <= undisturbed.deliveries; moment++) {
          const { partitionsLost, maxAbsError } = await measureMerge({ ...shape, replicas }, [{ replica, moment }]);
          const where = `replica ${replica} of ${replicas}, delivery ${moment}`;
          expect(partitionsLost, where).toBe(0);
          expect(maxAbsError, where).toBeLessThan(1e-6);
        }
    }
  });

  it("loses at most the partitions whose owners are both gone", async () => {
    const dead = [0, 1].map((replica) => ({ replica, moment: 60 }));
    const { partitions, partitionsLost } = await measureMerge({ ...shape, replicas: 5 }, dead);
    expect(partitions).toBe(5);
    expect(partitionsLost).toBeLessThanOrEqual(1);
  });
});
