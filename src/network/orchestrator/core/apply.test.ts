import { describe, expect, it } from "vitest";
import { FakeSwarm, fakeDefinition, fakeHash, fakeMiner } from "./fake-swarm.ts";
import { currentEpoch, rosterMembers } from "./state.ts";
import { viewOf } from "./view.ts";

const everyone = [1, 2, 3, 4, 5, 6];
/** Joined in turn, miners 1 and 4 hold the first stage, 2 and 5 the second, 3 and 6 the third. */
function fullSwarm(definition = fakeDefinition()): FakeSwarm {
  const swarm = new FakeSwarm(definition);
  swarm.join(...everyone);
  return swarm;
}
const stages = (swarm: FakeSwarm) =>
  swarm.state.roster.stages.map((replicas) => replicas.map((minerId) => Number.parseInt(minerId, 16)));

describe("the start", () => {
  it("waits until every stage has its replicas, then prepares all of them at once", () => {
    const swarm = new FakeSwarm();
    swarm.join(1, 2, 3, 4, 5);
    expect(swarm.state.phase.name).toBe("waiting");
    expect(viewOf(swarm.state).reason).toBe("Waiting for miners: 5 of 6 are here.");
    swarm.join(6);
    expect(swarm.state.phase.name).toBe("preparing");
    expect(stages(swarm)).toEqual([
      [1, 4],
      [2, 5],
      [3, 6],
    ]);
    expect(swarm.sent("prepare").map(({ message }) => [message.stage.index, message.checkpoint])).toEqual(
      [0, 1, 2, 0, 1, 2].map((stage) => [stage, null]),
    );
  });

  it("does not wait for ever for replicas, but always for a stage that has none", () => {
    const swarm = new FakeSwarm();
    swarm.join(1, 2);
    expect(viewOf(swarm.state).reason).toBe("Stage 3 of 3 has no miner.");
    expect(swarm.state.phase.deadlineMs).toBeNull();
    swarm.join(3);
    swarm.runOutOfTime();
    expect(swarm.state.phase.name).toBe("preparing");
  });

  it("leaves behind who is not ready in time, and takes it along at the next epoch", () => {
    const swarm = fullSwarm();
    const late = fakeMiner(5);
    for (const minerId of rosterMembers(swarm.state)) {
      const answer = swarm.honestAnswer(minerId);
      if (minerId !== late && answer) swarm.say(minerId, answer);
    }
    expect(swarm.state.phase.name).toBe("preparing");
    swarm.runOutOfTime();
    expect(swarm.state.phase.name).toBe("training");
    expect(stages(swarm)).toEqual([[1, 4], [2], [3, 6]]);
    swarm.finishEpoch();
    expect(stages(swarm)).toEqual([
      [1, 4],
      [2, 5],
      [3, 6],
    ]);
  });

  it("gives a stage whose only replica never gets ready to another miner", () => {
    const swarm = new FakeSwarm(fakeDefinition({ minimumReplicas: 1 }));
    swarm.join(1, 2, 3, 4);
    for (const index of [1, 3, 4]) {
      const answer = swarm.honestAnswer(fakeMiner(index));
      if (answer) swarm.say(fakeMiner(index), answer);
    }
    swarm.runOutOfTime();
    expect(swarm.state).toMatchObject({ attempt: 1, phase: { name: "preparing" } });
    expect(stages(swarm)).toEqual([[1], [2, 4], [3]]);
  });

  it("refuses a replica that starts from other weights", () => {
    const swarm = fullSwarm();
    swarm.finishEpoch();
    swarm.say(fakeMiner(2), { type: "ready", at: currentEpoch(swarm.state), weightsHash: fakeHash("other") });
    swarm.reach("training");
    expect(stages(swarm)).toEqual([[1, 4], [5], [3, 6]]);
  });
});

describe("an epoch", () => {
  it("goes from preparing to a checkpoint, and credits everyone for their stage's share", () => {
    const swarm = fullSwarm();
    swarm.reach("training");
    expect(swarm.sent("start")).toHaveLength(6);
    swarm.reach("uploading");
    swarm.finishEpoch();
    const { state } = swarm;
    expect(state.epoch).toBe(1);
    expect(state.tokens).toBe(2 * 256);
    expect(state.checkpoint?.stages).toHaveLength(3);
    expect(state.epochs[0]).toMatchObject({ epoch: 0, tokens: 512, trainLossNats: 2, contributors: 6 });
    const total = Object.values(state.credits).reduce((sum, credits) => sum + credits, 0);
    // 1,000 micro-credits per token for the whole model, each of six shares rounded down.
    expect(total).toBeGreaterThan(512 * 1000 - 6);
    expect(total).toBeLessThanOrEqual(512 * 1000);
    expect(swarm.effects.filter((effect) => effect.type === "credit")).toHaveLength(6);
  });

  it("lists the contributions of a stage to all its replicas in the same order", () => {
    const swarm = fullSwarm();
    swarm.reach("merging");
    for (const { to, message } of swarm.sent("merge")) {
      const stage = swarm.state.roster.stages.find((replicas) => replicas.includes(to));
      expect(message.contributions.map((one) => one.minerId)).toEqual([...(stage ?? [])].sort());
    }
  });

  it("admits a late joiner at the next epoch, to the stage that has the fewest replicas", () => {
    const swarm = fullSwarm();
    swarm.reach("training");
    swarm.join(7);
    expect(swarm.sent("idle").at(-1)?.message.reason).toBe("Stage 1 of 3: joins at the next epoch.");
    expect(viewOf(swarm.state).stages[0]?.replicas.at(-1)?.state).toBe("warming-up");
    swarm.finishEpoch();
    expect(stages(swarm)).toEqual([
      [1, 4, 7],
      [2, 5],
      [3, 6],
    ]);
  });

  it("ignores what belongs to another attempt, comes from outsiders or comes twice", () => {
    const swarm = fullSwarm();
    swarm.reach("uploading");
    const before = swarm.state;
    const contributed = swarm.honestAnswer(fakeMiner(1));
    if (contributed?.type !== "contributed") throw new Error("expected a contribution");
    swarm.say(fakeMiner(1), { ...contributed, at: { ...contributed.at, attempt: 7 } });
    swarm.say(fakeMiner(9), contributed);
    swarm.say(fakeMiner(1), { type: "source-done", at: contributed.at, microbatchesDone: 1, microbatchesLost: 1 });
    expect(swarm.state).toEqual(before);
    swarm.say(fakeMiner(1), contributed);
    const once = swarm.state;
    swarm.say(fakeMiner(1), { ...contributed, tokens: 1 });
    expect(swarm.state).toEqual(once);
  });

  it("takes no contribution of the wrong size or of more tokens than there were", () => {
    const swarm = fullSwarm();
    swarm.reach("uploading");
    const wrong = swarm.honestAnswer(fakeMiner(1));
    const greedy = swarm.honestAnswer(fakeMiner(2));
    if (wrong?.type !== "contributed" || greedy?.type !== "contributed") throw new Error("expected contributions");
    swarm.say(fakeMiner(1), { ...wrong, blob: { ...wrong.blob, bytes: 8 } });
    swarm.say(fakeMiner(2), { ...greedy, tokens: 513 });
    swarm.finishEpoch();
    expect(swarm.state.credits[fakeMiner(1)]).toBeUndefined();
    expect(swarm.state.credits[fakeMiner(2)]).toBeUndefined();
    expect(swarm.state.credits[fakeMiner(4)]).toBeGreaterThan(0);
  });

  it("is tried again when a stage has trained nothing", () => {
    const swarm = fullSwarm();
    swarm.reach("uploading");
    for (const minerId of rosterMembers(swarm.state)) {
      const answer = swarm.honestAnswer(minerId);
      if (answer?.type === "contributed") swarm.say(minerId, { ...answer, tokens: 0 });
    }
    expect(swarm.state).toMatchObject({ epoch: 0, attempt: 1, tokens: 0, phase: { name: "preparing" } });
  });
});

describe("losses", () => {
  it("a replica lost in mid-epoch leaves the others training", () => {
    const swarm = fullSwarm();
    swarm.reach("training");
    const effects = swarm.happen({ type: "session-closed", minerId: fakeMiner(5) });
    expect(swarm.state.phase.name).toBe("training");
    expect(swarm.sent("roster", effects).map(({ to }) => Number.parseInt(to, 16))).toEqual([1, 4, 2, 3, 6]);
    expect(viewOf(swarm.state).stages[1]?.replicas.map((replica) => replica.state)).toEqual(["training", "lost"]);
    swarm.finishEpoch();
    expect(swarm.state.epochs[0]?.contributors).toBe(5);
  });

  it("a returning miner gets its former stage back", () => {
    const swarm = fullSwarm();
    swarm.reach("training");
    swarm.happen({ type: "session-closed", minerId: fakeMiner(6) });
    swarm.happen({ type: "session-closed", minerId: fakeMiner(5) });
    swarm.join(6);
    swarm.join(5);
    swarm.finishEpoch();
    expect(stages(swarm)).toEqual([
      [1, 4],
      [2, 5],
      [3, 6],
    ]);
  });

  it("a lost source is not waited for", () => {
    const swarm = fullSwarm();
    swarm.reach("training");
    const done = swarm.honestAnswer(fakeMiner(1));
    if (done) swarm.say(fakeMiner(1), done);
    expect(swarm.state.phase.name).toBe("training");
    swarm.happen({ type: "session-closed", minerId: fakeMiner(4) });
    expect(swarm.state.phase.name).toBe("uploading");
  });

  it("a stage that loses its last replica starts the epoch again from the last checkpoint, with a miner from another stage", () => {
    const swarm = fullSwarm();
    swarm.finishEpoch();
    swarm.reach("training");
    const { checkpoint } = swarm.state;
    swarm.happen({ type: "session-closed", minerId: fakeMiner(2) });
    const effects = swarm.happen({ type: "session-closed", minerId: fakeMiner(5) });
    expect(swarm.state).toMatchObject({ epoch: 1, attempt: 1, phase: { name: "preparing" } });
    expect(stages(swarm)).toEqual([[1], [4], [3, 6]]);
    const moved = swarm.sent("prepare", effects).find(({ to }) => to === fakeMiner(4));
    expect(moved?.message.checkpoint).toEqual(checkpoint?.stages[1]);
  });

  it("waits, and says for what, while a stage has nobody", () => {
    const swarm = fullSwarm(fakeDefinition({ minimumReplicas: 1 }));
    swarm.reach("training");
    for (const index of [4, 5, 6, 1]) swarm.happen({ type: "session-closed", minerId: fakeMiner(index) });
    expect(swarm.state.phase.name).toBe("waiting");
    expect(
      swarm
        .sent("idle")
        .slice(-2)
        .map(({ message }) => message.reason),
    ).toEqual(["Stage 1 of 3 has no miner.", "Stage 1 of 3 has no miner."]);
    swarm.join(1);
    expect(swarm.state.phase.name).toBe("preparing");
  });

  it("a contribution outlives the replica that made it", () => {
    const swarm = fullSwarm();
    swarm.reach("uploading");
    const answer = swarm.honestAnswer(fakeMiner(5));
    if (answer) swarm.say(fakeMiner(5), answer);
    swarm.happen({ type: "session-closed", minerId: fakeMiner(5) });
    swarm.finishEpoch();
    expect(swarm.sent("merge").find(({ to }) => to === fakeMiner(2))?.message.contributions).toHaveLength(2);
    expect(swarm.state.credits[fakeMiner(5)]).toBeGreaterThan(0);
    const receipt = swarm.effects.find((effect) => effect.type === "credit" && effect.receipt.minerId === fakeMiner(5));
    expect(receipt).toMatchObject({ receipt: { checks: ["contribution-size"] } });
  });

  it("a replica that does not upload in time is left out of the merge", () => {
    const swarm = fullSwarm();
    swarm.reach("uploading");
    for (const index of [1, 4, 2, 3, 6]) {
      const answer = swarm.honestAnswer(fakeMiner(index));
      if (answer) swarm.say(fakeMiner(index), answer);
    }
    swarm.runOutOfTime();
    expect(swarm.state.phase.name).toBe("merging");
    swarm.finishEpoch();
    expect(swarm.state.epochs[0]?.contributors).toBe(5);
  });

  it("a failed replica is out of the epoch and has its place again at the next", () => {
    const swarm = fullSwarm();
    swarm.reach("training");
    const failure = { code: "compute-crashed", message: "the worker died", action: "", retry: true } as const;
    swarm.say(fakeMiner(5), { type: "failed", at: currentEpoch(swarm.state), failure });
    expect(swarm.state.phase.name).toBe("training");
    expect(stages(swarm)).toEqual([[1, 4], [2], [3, 6]]);
    swarm.finishEpoch();
    expect(stages(swarm)).toEqual([
      [1, 4],
      [2, 5],
      [3, 6],
    ]);
  });

  it("attempts that keep failing are tried again after longer and longer pauses", () => {
    const swarm = new FakeSwarm(fakeDefinition({ minimumReplicas: 1 }));
    swarm.join(1, 2, 3);
    const failure = { code: "compute-crashed", message: "the worker died", action: "", retry: true } as const;
    const pauses: number[] = [];
    for (let attempt = 0; attempt < 9; attempt++) {
      swarm.say(fakeMiner(2), { type: "failed", at: currentEpoch(swarm.state), failure });
      const failedAtMs = swarm.nowMs;
      if (swarm.state.phase.name === "waiting") swarm.runOutOfTime();
      pauses.push(swarm.nowMs - failedAtMs);
      expect(swarm.state.phase.name).toBe("preparing");
    }
    expect(pauses).toEqual([0, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
  });
});

describe("the merge", () => {
  it("follows the majority when replicas disagree, and lets the minority load the checkpoint", () => {
    const swarm = fullSwarm();
    swarm.join(7);
    swarm.reach("merging");
    expect(stages(swarm)[0]).toHaveLength(3);
    swarm.say(fakeMiner(1), { type: "merged", at: currentEpoch(swarm.state), weightsHash: fakeHash("wrong") });
    const expected = swarm.mergedWeights(0);
    swarm.finishEpoch();
    expect(swarm.state.checkpoint?.stages[0]?.weights).toEqual(expected);
    const dissenter = swarm.effects.find(
      (effect) => effect.type === "credit" && effect.receipt.minerId === fakeMiner(1),
    );
    expect(dissenter).toMatchObject({ receipt: { checks: ["contribution-size"] } });
  });

  it("asks another replica when the one that was to store is lost", () => {
    const swarm = fullSwarm();
    swarm.reach("merging");
    for (const index of everyone) {
      const answer = swarm.honestAnswer(fakeMiner(index));
      if (answer) swarm.say(fakeMiner(index), answer);
    }
    expect(swarm.sent("store-checkpoint").map(({ to }) => Number.parseInt(to, 16))).toEqual([1, 2, 3]);
    const effects = swarm.happen({ type: "session-closed", minerId: fakeMiner(2) });
    expect(swarm.sent("store-checkpoint", effects).map(({ to }) => to)).toEqual([fakeMiner(5)]);
    swarm.finishEpoch();
    expect(swarm.state.epoch).toBe(1);
  });

  it("asks another replica when the one that was to store is silent, or stores something else", () => {
    const swarm = fullSwarm();
    swarm.reach("merging");
    for (const index of everyone) {
      const answer = swarm.honestAnswer(fakeMiner(index));
      if (answer) swarm.say(fakeMiner(index), answer);
    }
    const optimizer = swarm.optimizerBlob(0);
    const other = swarm.stageBlob(0, "other");
    swarm.say(fakeMiner(1), { type: "stored", at: currentEpoch(swarm.state), weights: other, optimizer });
    const honest = swarm.honestAnswer(fakeMiner(4));
    expect(honest?.type).toBe("stored");
    if (honest) swarm.say(fakeMiner(4), honest);
    const effects = swarm.runOutOfTime();
    expect(swarm.sent("store-checkpoint", effects).map(({ to }) => to)).toEqual([fakeMiner(5), fakeMiner(6)]);
  });

  it("is given up when a whole stage is lost before it stored", () => {
    const swarm = fullSwarm();
    swarm.reach("merging");
    for (const index of [3, 6]) swarm.happen({ type: "session-closed", minerId: fakeMiner(index) });
    expect(swarm.state).toMatchObject({ epoch: 0, attempt: 1, tokens: 0, phase: { name: "preparing" } });
  });
});

describe("steering", () => {
  it("a pause merges what was trained, keeps the checkpoint and stops; a resume goes on from there", () => {
    const swarm = fullSwarm();
    swarm.reach("training");
    swarm.happen({ type: "steered", action: "pause" });
    expect(swarm.state.phase.name).toBe("uploading");
    swarm.finishEpoch();
    expect(swarm.state).toMatchObject({ epoch: 1, phase: { name: "paused" } });
    expect(swarm.sent("idle").slice(-6)).toHaveLength(6);
    swarm.happen({ type: "steered", action: "resume" });
    expect(swarm.state.phase.name).toBe("preparing");
    expect(swarm.sent("prepare").at(-1)?.message.checkpoint).toEqual(swarm.state.checkpoint?.stages[2]);
  });

  it("a pause before anything was trained is immediate", () => {
    const swarm = fullSwarm();
    swarm.happen({ type: "steered", action: "pause" });
    expect(swarm.state).toMatchObject({ attempt: 1, phase: { name: "paused" } });
  });

  it("finishes at the end of the epoch that reaches the target", () => {
    const swarm = fullSwarm(fakeDefinition({ targetTokens: 1000 }));
    swarm.finishEpoch();
    expect(swarm.state.phase.name).toBe("preparing");
    swarm.finishEpoch();
    expect(swarm.state).toMatchObject({ tokens: 1024, phase: { name: "finished" } });
    expect(viewOf(swarm.state).reason).toBe("The run reached its target of 1000 tokens.");
    swarm.happen({ type: "steered", action: "resume" });
    expect(swarm.state.phase.name).toBe("finished");
  });
});

describe("another target", () => {
  it("lets a run that had reached the old one go on from its checkpoint", () => {
    const swarm = fullSwarm(fakeDefinition({ targetTokens: 512 }));
    swarm.finishEpoch();
    expect(swarm.state.phase.name).toBe("finished");
    swarm.happen({ type: "retargeted", targetTokens: 1024 });
    expect(swarm.state).toMatchObject({ epoch: 1, intent: "run", phase: { name: "preparing" } });
    swarm.finishEpoch();
    expect(swarm.state).toMatchObject({ tokens: 1024, phase: { name: "finished" } });
  });

  it("does not start a run again that its owner has ended", () => {
    const swarm = fullSwarm();
    swarm.happen({ type: "steered", action: "finish" });
    swarm.happen({ type: "retargeted", targetTokens: 1024 });
    expect(swarm.state.phase.name).toBe("finished");
  });
});

describe("a restart of the orchestrator", () => {
  it("goes on from the last checkpoint with a new attempt, each miner in its former stage", () => {
    const swarm = fullSwarm();
    swarm.finishEpoch();
    swarm.reach("training");
    const { checkpoint, tokens, credits } = swarm.state;
    swarm.happen({ type: "restarted" });
    expect(swarm.state).toMatchObject({
      epoch: 1,
      attempt: 1,
      checkpoint,
      tokens,
      credits,
      phase: { name: "waiting" },
    });
    swarm.join(6, 5, 4, 3, 2, 1);
    expect(stages(swarm)).toEqual([
      [4, 1],
      [5, 2],
      [6, 3],
    ]);
  });

  it("leaves a paused run paused", () => {
    const swarm = fullSwarm();
    swarm.happen({ type: "steered", action: "pause" });
    swarm.happen({ type: "restarted" });
    swarm.join(...everyone);
    expect(swarm.state.phase.name).toBe("paused");
  });
});
