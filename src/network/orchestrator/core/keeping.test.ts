import { describe, expect, it } from "vitest";
import { stateBlobs } from "./fake-miner.ts";
import { FakeSwarm, fakeDefinition, fakeHash, fakeMiner } from "./fake-swarm.ts";
import { nextDeadlineMs, placeRef } from "./state.ts";
import { viewOf } from "./view.ts";

const everyone = [1, 2, 3, 4, 5, 6];
/** Joined in turn, miners 1 and 5 hold the first stage, 2 and 6 the second, 3 and 4 the third. */
function fullSwarm(definition = fakeDefinition()): FakeSwarm {
  const swarm = new FakeSwarm(definition);
  swarm.join(...everyone);
  return swarm;
}
/** One stage, so many replicas, whose first epoch is merged; nobody has said anything since. */
function mergedSwarm(replicas: number): FakeSwarm {
  const swarm = new FakeSwarm(fakeDefinition({ stages: 1, minimumReplicas: replicas }));
  swarm.join(...Array.from({ length: replicas }, (_, index) => index + 1));
  swarm.finishEpoch();
  return swarm;
}
const receivers = (sent: readonly { readonly to: string }[]) => sent.map(({ to }) => Number.parseInt(to, 16));
/** What the miner has to say about its snapshots. */
function snapshotReport(swarm: FakeSwarm, index: number) {
  const report = swarm
    .miner(fakeMiner(index))
    .reports()
    .find(({ type }) => type === "snapshot" || type === "stored");
  if (report === undefined) throw new Error(`miner ${index} has nothing to say of snapshots`);
  return report;
}
/** The run trains, and the snapshots are where the text says. */
function trainAllButUploads(swarm: FakeSwarm): void {
  for (const { minerId } of swarm.state.members)
    for (const report of swarm.miner(minerId).reports()) if (report.type === "ready") swarm.say(minerId, report);
}

describe("an epoch that is merged", () => {
  it("is followed by the next one at once, whose replicas are in step, while one of each stage takes a snapshot", () => {
    const swarm = fullSwarm();
    swarm.finishEpoch();
    expect(swarm.state).toMatchObject({ epoch: 1, checkpoint: null, phase: { name: "preparing" } });
    expect(receivers(swarm.sent("take-snapshot"))).toEqual([1, 2, 3]);
    const types = swarm.effects.flatMap((one) =>
      one.type === "send" && one.to === fakeMiner(1) ? one.message.type : [],
    );
    expect(types.slice(-2)).toEqual(["take-snapshot", "prepare"]);
    trainAllButUploads(swarm);
    expect(swarm.state.phase.name).toBe("training");
  });

  it("credits nobody before a checkpoint has it, and then with all that was merged before", () => {
    const swarm = fullSwarm();
    const keepers = [1, 2, 3].map(fakeMiner);
    swarm.finishEpoch();
    for (const index of [1, 2, 3]) swarm.say(fakeMiner(index), snapshotReport(swarm, index));
    expect(receivers(swarm.sent("store-checkpoint"))).toEqual([1, 2, 3]);
    const early = swarm.effects.length;
    // Those who upload train on and merge, and have not finished uploading.
    swarm.proceed(() => {
      for (const minerId of keepers)
        for (const report of swarm.miner(minerId).reports()) if (report.type !== "stored") swarm.say(minerId, report);
      return swarm.state.epoch === 3;
    }, keepers);
    expect(swarm.effects.slice(early).filter(({ type }) => type === "credit")).toEqual([]);
    expect(swarm.state).toMatchObject({ checkpoint: null, credits: {} });
    expect(viewOf(swarm.state).checkpointUpload).toEqual({ epoch: 1, tokens: 512, storedStages: 0 });
    for (const minerId of keepers)
      for (const report of swarm.miner(minerId).reports()) if (report.type === "stored") swarm.say(minerId, report);
    expect(swarm.state.checkpoint).toMatchObject({ epoch: 1, tokens: 512 });
    const credited = swarm.effects.flatMap((one) => (one.type === "credit" ? [one.receipt.at.epoch] : []));
    expect(credited).toEqual([0, 0, 0, 0, 0, 0]);
    swarm.finishUpload();
    expect(swarm.state.uncredited.every(({ at }) => at.epoch >= 3)).toBe(true);
    expect(swarm.effects.filter((one) => one.type === "credit" && one.receipt.at.epoch < 3)).toHaveLength(18);
  });

  it("gives those who joined what they have to load once somebody has a snapshot, and names who", () => {
    const swarm = fullSwarm();
    swarm.reach("training");
    swarm.join(7);
    swarm.finishEpoch([fakeMiner(7)]);
    swarm.miner(fakeMiner(7)).forget();
    swarm.lose(7);
    swarm.join(7);
    const [stage = 0] = swarm.state.members.find(({ minerId }) => minerId === fakeMiner(7))?.stages ?? [];
    const keeper = swarm.sent("take-snapshot").find(({ message }) => message.at.stage === stage)?.to;
    const prepared = () =>
      swarm.sent("prepare").filter(({ to, message }) => to === fakeMiner(7) && message.at.epoch === 1);
    expect(prepared()).toEqual([]);
    const snapshot = snapshotReport(swarm, Number.parseInt(keeper ?? "", 16));
    swarm.say(fakeMiner(Number.parseInt(keeper ?? "", 16)), snapshot);
    expect(prepared().map(({ message }) => message.checkpoint)).toEqual([
      {
        ...(snapshot.type === "snapshot" ? snapshot.state : null),
        holders: [keeper],
        merges: [],
        mergers: swarm.state.start?.stages[stage]?.inStep,
      },
    ]);
  });

  it("is told to those in step without an optimizer's state that only a joiner would need", () => {
    const swarm = fullSwarm();
    swarm.finishEpoch();
    const [prepared] = swarm.sent("prepare").filter(({ message }) => message.at.epoch === 1);
    expect(prepared?.message.checkpoint).toEqual({
      weights: stateBlobs(fakeDefinition(), 0, swarm.state.start?.stages[0]?.weightsHash ?? fakeHash("")).weights,
      optimizer: null,
      moments: null,
      holders: [],
      merges: [],
      mergers: [],
    });
  });
});

describe("a snapshot", () => {
  it("is taken by another replica when the one that was asked is lost, silent, has none or another one", () => {
    const swarm = mergedSwarm(5);
    const asked = () => receivers(swarm.sent("take-snapshot"));
    expect(asked()).toEqual([1]);
    swarm.loseForGood(1);
    expect(asked()).toEqual([1, 2]);
    swarm.say(fakeMiner(2), { type: "snapshot", at: snapshotReport(swarm, 2).at, state: null });
    expect(asked()).toEqual([1, 2, 3]);
    const report = snapshotReport(swarm, 3);
    swarm.say(fakeMiner(3), {
      ...report,
      type: "snapshot",
      state: stateBlobs(fakeDefinition({ stages: 1 }), 0, fakeHash("other")),
    });
    expect(asked()).toEqual([1, 2, 3, 4]);
    swarm.nowMs += swarm.state.definition.timeouts.mergeMs;
    swarm.happen({ type: "deadline" });
    expect(asked()).toEqual([1, 2, 3, 4, 5]);
    expect(swarm.state.log.filter(({ text }) => text.includes("is not relied on"))).toHaveLength(2);
  });

  it("is not asked of who has trained on; the next epoch's takes its place", () => {
    const swarm = mergedSwarm(3);
    trainAllButUploads(swarm);
    expect(swarm.state.phase.name).toBe("training");
    swarm.loseForGood(1);
    expect(receivers(swarm.sent("take-snapshot"))).toEqual([1]);
    swarm.finishEpoch();
    expect(receivers(swarm.sent("take-snapshot"))).toEqual([1, 2]);
    swarm.finishUpload();
    expect(swarm.state.checkpoint?.epoch).toBe(2);
    expect(swarm.effects.filter(({ type }) => type === "credit")).toHaveLength(5);
  });

  it("is asked of a replica that warms up, for it holds what the epoch began with", () => {
    const swarm = mergedSwarm(2);
    swarm.say(fakeMiner(1), snapshotReport(swarm, 1));
    trainAllButUploads(swarm);
    swarm.join(3);
    swarm.answer(fakeMiner(3));
    swarm.loseForGood(1);
    expect(receivers(swarm.sent("take-snapshot"))).toEqual([1, 3]);
    swarm.finishUpload();
    expect(swarm.state.checkpoint?.epoch).toBe(1);
  });

  it("is asked for again of who comes back, since the order may have been lost", () => {
    const swarm = mergedSwarm(2);
    swarm.lose(1);
    const before = swarm.effects.length;
    swarm.join(1);
    expect(receivers(swarm.sent("take-snapshot", swarm.effects.slice(before)))).toEqual([1]);
    expect(swarm.state.start?.stages[0]?.keeper?.minerId).toBe(fakeMiner(1));
  });
});

describe("an upload", () => {
  /** All stages' snapshots are taken, and are being uploaded; the epoch trains. */
  function uploading(): FakeSwarm {
    const swarm = fullSwarm();
    swarm.finishEpoch();
    for (const index of [1, 2, 3]) swarm.say(fakeMiner(index), snapshotReport(swarm, index));
    trainAllButUploads(swarm);
    expect(swarm.state).toMatchObject({ phase: { name: "training" }, upload: { epoch: 1 } });
    return swarm;
  }

  it("is called off when one who stores a stage is lost, and a later one follows", () => {
    const swarm = uploading();
    swarm.say(fakeMiner(3), snapshotReport(swarm, 3));
    swarm.loseForGood(1);
    expect(swarm.state.upload).toBeNull();
    expect(receivers(swarm.sent("abandon-checkpoint"))).toEqual([1, 2]);
    swarm.finishEpoch();
    swarm.finishUpload();
    expect(swarm.state.checkpoint).toMatchObject({ epoch: 2, tokens: swarm.state.start?.tokens });
  });

  it("is not counted on for ever", () => {
    const swarm = uploading();
    swarm.nowMs = swarm.state.upload?.deadlineMs ?? 0;
    expect(nextDeadlineMs(swarm.state)).toBeLessThanOrEqual(swarm.nowMs);
    swarm.happen({ type: "deadline" });
    expect(swarm.state.upload).toBeNull();
    expect(swarm.state.members.filter(({ unreliable }) => unreliable)).toHaveLength(3);
  });

  it("of something else than was announced is refused", () => {
    const swarm = uploading();
    const report = snapshotReport(swarm, 1);
    const other = stateBlobs(fakeDefinition(), 0, fakeHash("other"));
    swarm.say(fakeMiner(1), { ...report, type: "stored", ...other });
    expect(swarm.state.upload).toBeNull();
    expect(swarm.state.members[0]?.unreliable).toBe(true);
  });

  it("is not taken for finished because of who was not asked, or of another epoch's word", () => {
    const swarm = uploading();
    const before = swarm.state;
    const report = snapshotReport(swarm, 1);
    swarm.say(fakeMiner(5), report);
    swarm.say(fakeMiner(1), { ...report, at: { ...report.at, epoch: 7 } });
    swarm.say(fakeMiner(1), { ...report, at: { ...report.at, stage: 1 } });
    swarm.say(fakeMiner(1), { ...report, at: { ...report.at, stage: 9 } });
    expect(swarm.state).toBe(before);
  });

  it("goes on through a restart of the orchestrator", () => {
    const swarm = uploading();
    swarm.nowMs += 24 * 3600 * 1000;
    swarm.happen({ type: "restarted" });
    swarm.happen({ type: "deadline" });
    const before = swarm.effects.length;
    swarm.join(...everyone);
    expect(receivers(swarm.sent("store-checkpoint", swarm.effects.slice(before)))).toEqual([1, 2, 3]);
    swarm.finishUpload();
    expect(swarm.state.checkpoint?.epoch).toBe(1);
  });
});

describe("a state that is lost before it is stored", () => {
  it("takes the run back to the last checkpoint, with what that was credited for and nothing else", () => {
    const swarm = fullSwarm();
    swarm.finishEpoch();
    swarm.finishUpload();
    swarm.finishEpoch();
    const { epoch, tokens, checkpoint, credits } = swarm.state;
    expect(tokens).toBeGreaterThan(checkpoint?.tokens ?? 0);
    swarm.loseForGood(2, 6);
    expect(swarm.state).toMatchObject({ epoch, tokens: checkpoint?.tokens, checkpoint, credits, uncredited: [] });
    expect(swarm.state.log.map(({ text }) => text)).toContain(
      `All who had the merged weights of stage 2 of 3 are lost. The run goes on from the last checkpoint, without the last ${
        tokens - (checkpoint?.tokens ?? 0)
      } tokens.`,
    );
    const weights = swarm.sent("prepare").at(-1)?.message.checkpoint?.weights;
    expect(checkpoint?.stages.map((stage) => stage.weights)).toContainEqual(weights);
    swarm.join(2, 6);
    swarm.finishEpoch();
    expect(swarm.state.tokens).toBeGreaterThan(checkpoint?.tokens ?? 0);
  });

  it("takes it back to its beginning where there is no checkpoint yet", () => {
    const swarm = mergedSwarm(1);
    swarm.loseForGood(1);
    swarm.join(2);
    swarm.reach("preparing");
    expect(swarm.state).toMatchObject({ epoch: 1, tokens: 0, start: null });
    expect(swarm.sent("prepare").at(-1)?.message.checkpoint).toBeNull();
    swarm.finishEpoch();
    expect(swarm.state.epoch).toBe(2);
  });

  it("is not lost while a snapshot of it is there: the epoch is tried again from that", () => {
    const swarm = fullSwarm();
    swarm.finishEpoch();
    for (const index of [1, 2, 3]) swarm.say(fakeMiner(index), snapshotReport(swarm, index));
    trainAllButUploads(swarm);
    const { tokens } = swarm.state;
    swarm.say(fakeMiner(2), { type: "failed", at: placeRef(swarm.state, 1), failure });
    swarm.say(fakeMiner(6), { type: "failed", at: placeRef(swarm.state, 1), failure });
    expect(swarm.state).toMatchObject({ epoch: 1, attempt: 1, tokens, phase: { name: "preparing" } });
    const prepared = swarm.sent("prepare").filter(({ message }) => message.at.attempt === 1 && message.at.stage === 1);
    expect(prepared.map(({ message }) => message.checkpoint?.holders)).toContainEqual([fakeMiner(2)]);
    swarm.finishEpoch();
    expect(swarm.state.tokens).toBeGreaterThan(tokens);
  });
});

describe("a run that is to rest", () => {
  it("stores what it merged last, and no longer what is older", () => {
    const swarm = fullSwarm();
    swarm.finishEpoch();
    for (const index of [1, 2, 3]) swarm.say(fakeMiner(index), snapshotReport(swarm, index));
    trainAllButUploads(swarm);
    swarm.happen({ type: "steered", action: "pause" });
    const keepers = [1, 2, 3].map(fakeMiner);
    swarm.proceed(() => {
      for (const minerId of keepers)
        for (const report of swarm.miner(minerId).reports()) if (report.type !== "stored") swarm.say(minerId, report);
      return swarm.state.phase.name === "storing";
    }, keepers);
    expect(receivers(swarm.sent("abandon-checkpoint"))).toEqual([1, 2, 3]);
    swarm.finishUpload();
    expect(swarm.state).toMatchObject({ phase: { name: "paused" }, checkpoint: { epoch: 2 }, uncredited: [] });
  });

  it("asks another replica when one that stores is lost, and falls back when none is left", () => {
    const swarm = fullSwarm();
    swarm.reach("training");
    swarm.happen({ type: "steered", action: "finish" });
    swarm.reach("storing");
    swarm.loseForGood(1);
    expect(receivers(swarm.sent("take-snapshot")).at(-1)).toBe(5);
    swarm.loseForGood(5);
    expect(swarm.state).toMatchObject({ phase: { name: "finished" }, tokens: 0, checkpoint: null });
  });

  it("goes on with the next epoch at once when its owner wants it to, with what the replicas hold", () => {
    const swarm = fullSwarm();
    swarm.reach("training");
    swarm.happen({ type: "steered", action: "pause" });
    swarm.reach("storing");
    swarm.happen({ type: "steered", action: "resume" });
    expect(swarm.state).toMatchObject({ epoch: 1, phase: { name: "preparing" } });
    trainAllButUploads(swarm);
    expect(swarm.state.phase.name).toBe("training");
  });
});

describe("a damaged checkpoint", () => {
  it("makes no difference to miners that hold what was merged since", () => {
    const swarm = fullSwarm();
    for (const _ of [1, 2]) {
      swarm.finishEpoch();
      swarm.finishUpload();
    }
    swarm.finishEpoch();
    const { tokens, previousCheckpoint, credits } = swarm.state;
    swarm.happen({ type: "checkpoint-damaged" });
    expect(swarm.state).toMatchObject({ tokens, credits, checkpoint: previousCheckpoint, previousCheckpoint: null });
  });
});

const failure = { code: "compute-crashed", message: "crashed", action: "", retry: true } as const;
