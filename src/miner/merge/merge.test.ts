import { describe, expect, it } from "vitest";
import { fakeContributions, largestError } from "./fake-contributions.ts";
import { FakeOrchestrator } from "./fake-orchestrator.ts";
import { FakeSwarm } from "./fake-swarm.ts";

const seed = 20_261_126;

describe("a butterfly merge", () => {
  it.each([1, 2, 3, 4, 8])("among %i replicas is the mean of what they bring, the same in all", async (replicas) => {
    const contributions = fakeContributions(replicas, 1000, seed);
    const swarm = new FakeSwarm(contributions);
    const outcome = await new FakeOrchestrator(swarm, 1000).merge();
    expect(outcome).toMatchObject({ lost: 0, outliers: new Set() });
    expect(outcome.contributors).toHaveLength(replicas);
    expect(outcome.weightsHashes.size).toBe(1);
    expect(largestError(swarm, contributions, outcome)).toBeLessThan(1e-6);
  });

  it("costs a replica what the protocol says, however many there are", async () => {
    const parameters = 300_000;
    for (const replicas of [2, 4, 8]) {
      const swarm = new FakeSwarm(fakeContributions(replicas, parameters, seed));
      await new FakeOrchestrator(swarm, parameters).merge();
      const theory = (3 - 4 / replicas) * 4 * parameters;
      for (const { link } of swarm.members)
        for (const bytes of Object.values(link.traffic)) {
          expect(bytes / theory).toBeGreaterThan(0.9);
          expect(bytes / theory).toBeLessThan(1.1);
        }
    }
  });

  it("loses nothing but, at most, the work of the one replica that dies, whichever and whenever", {
    timeout: 120_000,
  }, async () => {
    const parameters = 64;
    for (const replicas of [2, 3, 4]) {
      const contributions = fakeContributions(replicas, parameters, seed);
      const undisturbed = new FakeSwarm(contributions);
      await new FakeOrchestrator(undisturbed, parameters).merge();
      for (let victim = 0; victim < replicas; victim++)
        for (let moment = 1; moment <= undisturbed.moments; moment++) {
          const swarm = new FakeSwarm(contributions);
          swarm.killAt(victim, moment);
          const outcome = await new FakeOrchestrator(swarm, parameters).merge();
          const where = `replica ${victim} of ${replicas}, delivery ${moment}`;
          expect(outcome.lost, where).toBe(0);
          expect(outcome.weightsHashes.size, where).toBe(1);
          expect(outcome.contributors.length, where).toBeGreaterThanOrEqual(replicas - 1);
          expect(largestError(swarm, contributions, outcome), where).toBeLessThan(1e-6);
        }
    }
  });
});
