import { describe, expect, it } from "vitest";
import type { MinerId } from "../../../protocol/ids.ts";
import { FakeSwarm, fakeDefinition, fakeHash, fakeMiner } from "./fake-swarm.ts";
import { replicaOf } from "./replicas.ts";
import type { StageMerge } from "./stage-merge.ts";
import { placeRef } from "./state.ts";

/** One stage, so many replicas. */
function swarmOf(replicas: number): FakeSwarm {
  const swarm = new FakeSwarm(fakeDefinition({ stages: 1, minimumReplicas: replicas }));
  swarm.join(...Array.from({ length: replicas }, (_, index) => index + 1));
  return swarm;
}
const mergeOf = ({ state }: FakeSwarm, stage = 0): StageMerge => {
  const merge = state.phase.name === "merging" ? state.phase.stages[stage] : undefined;
  if (merge === undefined) throw new Error(`${state.phase.name}, not merging`);
  return merge;
};
const ownersOf = (swarm: FakeSwarm, partition: number) => {
  const { order } = mergeOf(swarm);
  return [0, 1, 2].map(
    (turn) => swarm.state.replicas[0]?.[order[(partition + turn) % order.length] ?? 0]?.minerId ?? "",
  );
};
const indexOf = (minerId: string) => Number.parseInt(minerId, 16);
const merging = (replicas: number) => {
  const swarm = swarmOf(replicas);
  swarm.reach("merging");
  return swarm;
};

describe("a partition", () => {
  it("is put to its two owners first, each replica being one of as many", () => {
    const swarm = merging(4);
    const asked = swarm.sent("reduce").map(({ to, message }) => [to, message.partitions.length]);
    expect(asked.sort()).toEqual([1, 2, 3, 4].map((index) => [fakeMiner(index), 2]));
    expect(mergeOf(swarm).partitions).toHaveLength(4);
  });

  it("is decided by two equal hashes", () => {
    const swarm = merging(3);
    const [first = "", second = ""] = ownersOf(swarm, 0);
    swarm.answer(first as MinerId);
    expect(mergeOf(swarm).partitions[0]).toMatchObject({ open: true });
    swarm.answer(second as MinerId);
    expect(mergeOf(swarm).partitions[0]).toMatchObject({ open: false, asked: 2 });
  });

  it("goes to a third replica where two owners disagree, and who reported another hash than two is out of the epoch", () => {
    const swarm = merging(3);
    const [liar = "", honest = "", third = ""] = ownersOf(swarm, 0);
    const report = swarm.report(indexOf(liar), "reduced");
    swarm.say(liar as MinerId, {
      ...report,
      slices: report.slices.map((slice) => ({ ...slice, hash: fakeHash("lie") })),
    });
    swarm.answer(honest as MinerId);
    expect(mergeOf(swarm).partitions[0]).toMatchObject({ open: true, asked: 3 });
    expect(swarm.sent("reduce").at(-1)?.to).toBe(third);
    swarm.finishEpoch();
    expect(swarm.state.epochs[0]?.partitionsLost).toBe(0);
    expect(swarm.state.members.find(({ minerId }) => minerId === liar)?.unreliable).toBe(true);
    expect(swarm.state.start?.stages[0]?.inStep).not.toContain(liar);
  });

  it("is never decided by one of two different hashes: with nobody else to ask it keeps its previous value, and is counted", () => {
    const swarm = merging(2);
    const report = swarm.report(1, "reduced");
    swarm.say(fakeMiner(1), { ...report, slices: report.slices.map((slice) => ({ ...slice, hash: fakeHash("lie") })) });
    swarm.answer(fakeMiner(2));
    expect(mergeOf(swarm).partitions.map(({ hash }) => hash)).toEqual([null, null]);
    expect(swarm.sent("apply").at(-1)?.message.slices).toEqual([null, null]);
    swarm.finishEpoch();
    expect(swarm.state.epochs[0]?.partitionsLost).toBe(2);
    expect(swarm.state.partitionsLost).toBe(2);
  });

  it("goes to another replica when an owner has nobody's contribution", () => {
    const swarm = merging(3);
    const report = swarm.report(1, "reduced");
    swarm.say(fakeMiner(1), { ...report, slices: report.slices.map((slice) => ({ ...slice, hash: null })) });
    swarm.finishEpoch();
    expect(swarm.state.epochs[0]?.partitionsLost).toBe(0);
  });

  it("is decided by the only replica that is left", () => {
    const swarm = merging(2);
    swarm.loseForGood(1);
    swarm.finishEpoch();
    expect(swarm.state.epochs[0]).toMatchObject({ contributors: 2, partitionsLost: 0 });
  });

  it("is averaged again by others when both owners are lost before anybody fetched it", () => {
    const swarm = merging(4);
    for (const index of [1, 2, 3, 4]) swarm.answer(fakeMiner(index));
    expect(mergeOf(swarm).step.name).toBe("applying");
    const [first = "", second = ""] = ownersOf(swarm, 0);
    swarm.loseForGood(indexOf(first), indexOf(second));
    expect(mergeOf(swarm)).toMatchObject({ step: { name: "reducing" } });
    expect(mergeOf(swarm).partitions[0]).toMatchObject({ open: true });
    swarm.finishEpoch();
    expect(swarm.state.epochs[0]?.partitionsLost).toBe(0);
  });

  it("goes to another replica when an owner does not average it in time", () => {
    const swarm = merging(3);
    const [, slow = ""] = ownersOf(swarm, 0);
    for (const index of [1, 2, 3]) if (fakeMiner(index) !== slow) swarm.answer(fakeMiner(index));
    swarm.runOutOfTime();
    swarm.finishEpoch([slow as MinerId]);
    expect(swarm.state.epochs[0]?.partitionsLost).toBe(0);
    expect(swarm.state.members.find(({ minerId }) => minerId === slow)?.unreliable).toBe(true);
  });

  it("is not taken from who was not asked, nor twice from who was", () => {
    const swarm = merging(4);
    const before = swarm.state;
    const at = placeRef(before, 0);
    const [first = "", , third = ""] = ownersOf(swarm, 0);
    const slices = [{ partition: 0, hash: fakeHash("lie"), missing: [] }];
    swarm.say(third as MinerId, { type: "reduced", at, slices, outliers: [] });
    swarm.say(third as MinerId, {
      type: "reduced",
      at,
      slices: [{ partition: 99, hash: null, missing: [] }],
      outliers: [],
    });
    expect(swarm.state).toBe(before);
    swarm.answer(first as MinerId);
    const { partitions } = mergeOf(swarm);
    swarm.say(first as MinerId, { type: "reduced", at, slices, outliers: [] });
    expect(mergeOf(swarm).partitions).toBe(partitions);
  });
});

describe("a contribution", () => {
  it("that two replicas left out as an outlier is counted against its miner", () => {
    const swarm = merging(3);
    for (const index of [1, 2])
      swarm.say(fakeMiner(index), { ...swarm.report(index, "reduced"), outliers: [fakeMiner(3)] });
    swarm.say(fakeMiner(3), { ...swarm.report(3, "reduced"), outliers: [fakeMiner(1)] });
    swarm.finishEpoch();
    expect(swarm.state.members.map(({ outliers }) => outliers)).toEqual([0, 0, 1]);
    expect(swarm.state.log.map(({ text }) => text)).toContain(
      "Parts of miner 3's contribution to stage 1 of 1 were left out as outliers (1 so far).",
    );
  });
});

describe("the merged weights", () => {
  it("are what most replicas have; the others load the checkpoint", () => {
    const swarm = merging(3);
    swarm.proceed(() => mergeOf(swarm).step.name === "applying");
    const { weightsHash } = swarm.report(2, "merged");
    swarm.say(fakeMiner(1), { ...swarm.report(1, "merged"), weightsHash: fakeHash("wrong") });
    swarm.finishEpoch([fakeMiner(1)]);
    expect(swarm.state.start?.stages[0]?.weightsHash).toBe(weightsHash);
    expect(swarm.state.start?.stages[0]?.inStep).not.toContain(fakeMiner(1));
    swarm.finishUpload();
    const dissenter = swarm.effects.find((one) => one.type === "credit" && one.receipt.minerId === fakeMiner(1));
    expect(dissenter).toMatchObject({ receipt: { checks: ["contribution-size"] } });
  });

  it("are given up when a whole stage is lost before all have merged", () => {
    const swarm = merging(2);
    swarm.lose(1, 2);
    expect(swarm.state.phase.name).toBe("merging");
    swarm.nowMs += 3000;
    swarm.happen({ type: "deadline" });
    expect(swarm.state).toMatchObject({ epoch: 0, attempt: 1, tokens: 0, phase: { name: "waiting" } });
  });
});

describe("a dropout in a merge", () => {
  /**
   * Lets an epoch run, and one miner die for good at that moment: before any report. Null once there are not so many; else how many
   * contributions ought to count.
   */
  function epochWithDropout(replicas: number, victim: number, moment: number) {
    const swarm = swarmOf(replicas);
    swarm.reach("uploading");
    let [moments, contributors] = [0, 0];
    swarm.proceed(() => {
      if (swarm.state.epoch === 0 && moments++ === moment) {
        const hasContributed = replicaOf(swarm.state, 0, fakeMiner(victim))?.contribution !== null;
        contributors = hasContributed ? replicas : replicas - 1;
        swarm.loseForGood(victim);
      }
      return swarm.state.epoch > 0;
    });
    return contributors === 0 ? null : { record: swarm.state.epochs[0], contributors };
  }

  it("of any one replica, at any moment, loses no partition and no contribution that was handed over", () => {
    for (const replicas of [2, 3, 4])
      for (let victim = 1; victim <= replicas; victim++) {
        let moments = 0;
        for (let moment = 0; ; moment++) {
          const outcome = epochWithDropout(replicas, victim, moment);
          if (outcome === null) break;
          moments++;
          const { record, contributors } = outcome;
          expect(record, `${replicas} replicas, ${victim} lost at moment ${moment}`).toMatchObject({
            partitionsLost: 0,
            contributors,
          });
        }
        expect(moments).toBeGreaterThan(3 * replicas);
      }
  });

  it("of any two replicas costs at most partitions, and the epoch ends", () => {
    for (const first of [1, 2, 3, 4])
      for (let moment = 0; moment < 12; moment++) {
        const swarm = merging(4);
        let said = 0;
        swarm.proceed(() => {
          if (said++ === moment) swarm.loseForGood(first, (first % 4) + 1);
          return swarm.state.epoch > 0;
        });
        expect(swarm.state.attempt).toBe(0);
      }
  });
});
