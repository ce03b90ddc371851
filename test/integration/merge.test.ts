/** The daemons' merge led by the orchestrator's core: `npm run bench -- merge` does the same with more replicas and longer vectors. */
import { describe, expect, it } from "vitest";
import { fakeContributions } from "../../src/miner/merge/fake-contributions.ts";
import { FakeSwarm } from "../../src/miner/merge/fake-swarm.ts";
import { hashBytes } from "../../src/protocol/identity.ts";
import { decodeBody, mergeMessageSchema } from "../../src/protocol/merge-messages.ts";
import { manifestOf } from "../../src/protocol/partitions.ts";
import { CoreOrchestrator, mergePlace, mergeRun } from "../bench/merge/core-orchestrator.ts";
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

  it("credits nothing to who says that it contributed what there is not, and everything to the others", async () => {
    for (const replicas of [2, 3]) {
      const { swarm, orchestrator } = swarmUnderCore(replicas);
      const [cheat, ...honest] = swarm.members.map(({ id }) => id);
      const { onReport } = swarm;
      const manifest = hashBytes(Buffer.from("nothing"));
      swarm.onReport = (from, message) =>
        onReport(from, from === cheat && message.type === "contributed" ? { ...message, manifest } : message);
      expect(await orchestrator.merge()).toMatchObject({ contributors: honest, lost: 0 });
    }
  });

  it("credits nothing to who averages its own work in and hands it to nobody else", async () => {
    const { swarm, orchestrator } = swarmUnderCore(3);
    const [cheat, ...honest] = swarm.members.map(({ id }) => id);
    const { at } = swarm.place;
    swarm.fate = ({ from, kind, body }) => {
      if (from !== cheat) return "deliver";
      const offer = kind === "merge" ? decodeBody(mergeMessageSchema, body) : null;
      if (offer?.type === "offer") {
        const said = { at, tokens: offer.tokens, computeMs: 0, lossSumNats: null, boundary: null };
        setImmediate(() => swarm.onReport(from, { ...said, type: "contributed", manifest: manifestOf(offer.slices) }));
      }
      return offer?.type === "offer" || kind === "blob-part" ? "drop" : "deliver";
    };
    expect(await orchestrator.merge()).toMatchObject({ contributors: honest, lost: 0 });
  });
});

function swarmUnderCore(replicas: number) {
  const { run, parameters } = mergeRun(replicas, 64, { kind: "f32" });
  const swarm = new FakeSwarm(fakeContributions(replicas, parameters, 1), mergePlace(run));
  return { swarm, orchestrator: new CoreOrchestrator(swarm, run) };
}
