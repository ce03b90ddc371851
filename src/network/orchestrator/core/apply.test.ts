import { describe, expect, it } from "vitest";
import { FakeSwarm, fakeDefinition, fakeDevice, fakeHash, fakeMiner } from "./fake-swarm.ts";
import { liveReplicas } from "./replicas.ts";
import { placeRef } from "./state.ts";
import { viewOf } from "./view.ts";

const everyone = [1, 2, 3, 4, 5, 6];
/** Joined in turn, miners 1 and 5 hold the first stage, 2 and 6 the second, 3 and 4 the third. */
function fullSwarm(definition = fakeDefinition()): FakeSwarm {
  const swarm = new FakeSwarm(definition);
  swarm.join(...everyone);
  return swarm;
}
/** Live replicas by stage. */
const stages = ({ state }: FakeSwarm) =>
  state.stages.map(({ spec }) => liveReplicas(state, spec.index).map(({ minerId }) => Number.parseInt(minerId, 16)));
const receivers = (sent: readonly { readonly to: string }[]) => sent.map(({ to }) => Number.parseInt(to, 16));

describe("the start", () => {
  it("waits until every stage has its replicas, then prepares all of them at once", () => {
    const swarm = new FakeSwarm();
    swarm.join(1, 2, 3, 4, 5);
    expect(swarm.state.phase.name).toBe("waiting");
    expect(viewOf(swarm.state).reason).toBe("Waiting for miners: 5 of 6 are here.");
    swarm.join(6);
    expect(swarm.state.phase.name).toBe("preparing");
    expect(stages(swarm)).toEqual([
      [1, 5],
      [2, 6],
      [3, 4],
    ]);
    expect(swarm.sent("prepare").map(({ message }) => [message.stage.index, message.checkpoint])).toEqual(
      [0, 0, 1, 1, 2, 2].map((stage) => [stage, null]),
    );
  });

  it("does not wait for ever for replicas, but always for a stage that has none", () => {
    const swarm = new FakeSwarm();
    swarm.join(1, 2);
    expect(viewOf(swarm.state).reason).toBe("Stage 1 of 3 has no miner.");
    expect(swarm.state.phase.deadlineMs).toBeNull();
    swarm.join(3);
    swarm.runOutOfTime();
    expect(swarm.state.phase.name).toBe("preparing");
  });

  it("gives one large machine all stages, each with its part of the memory, when nobody else comes", () => {
    const definition = fakeDefinition({ minimumReplicas: 1 });
    const swarm = new FakeSwarm(definition);
    const device = fakeDevice(definition, 4);
    swarm.joinWith(1, device);
    expect(viewOf(swarm.state).reason).toBe("Waiting for miners: 1 of 3 are here.");
    const prepared = swarm.sent("prepare", swarm.runOutOfTime());
    expect(prepared.map(({ message }) => message.at.stage)).toEqual([0, 1, 2]);
    const limits = prepared.map(({ message }) => message.memoryLimitBytes);
    expect(Math.round(limits.reduce((sum, limit) => sum + limit, 3))).toBeGreaterThanOrEqual(device.memoryLimitBytes);
    for (const [stage, { memoryBytes }] of swarm.state.needs.entries())
      expect(limits[stage]).toBeGreaterThanOrEqual(memoryBytes);
    swarm.finishEpoch();
    expect(swarm.state.epochs[0]).toMatchObject({ contributors: 1, tokens: 256 });
  });

  it("tells a miner whose memory no stage fits into what is missing", () => {
    const swarm = new FakeSwarm();
    swarm.joinWith(1, { ...fakeDevice(fakeDefinition()), memoryLimitBytes: 1 << 10 });
    expect(swarm.sent("idle").at(-1)?.message.reason).toBe(
      "No stage fits into 1 MiB of memory: the smallest one takes 161 MiB.",
    );
  });

  it("leaves behind who is not ready in time, and takes it along at the next epoch", () => {
    const swarm = fullSwarm();
    const late = fakeMiner(5);
    for (const index of everyone) if (fakeMiner(index) !== late) swarm.answer(fakeMiner(index));
    expect(swarm.state.phase.name).toBe("preparing");
    swarm.runOutOfTime();
    expect(swarm.state.phase.name).toBe("training");
    expect(stages(swarm)).toEqual([[1], [2, 6], [3, 4]]);
    swarm.finishEpoch();
    swarm.reach("training");
    expect(stages(swarm)).toEqual([
      [1, 5],
      [2, 6],
      [3, 4],
    ]);
  });

  it("lets those who hold the checkpoint wait for one that still loads it no longer than it is worth to the epoch", () => {
    const swarm = fullSwarm();
    swarm.reach("training");
    swarm.join(7);
    swarm.finishEpoch([fakeMiner(7)]);
    for (const index of everyone) swarm.answer(fakeMiner(index));
    expect(swarm.state.phase.name).toBe("preparing");
    const beginMs = swarm.nowMs;
    swarm.runOutOfTime();
    expect(swarm.state.phase.name).toBe("training");
    const [{ durationMs } = { durationMs: 0 }] = swarm.state.epochs;
    expect(swarm.nowMs - beginMs).toBe(Math.ceil(durationMs / 7));
    swarm.finishEpoch();
    swarm.reach("training");
    expect(stages(swarm).flat()).toContain(7);
  });

  it("gives a stage whose only replica never gets ready to another miner", () => {
    const swarm = new FakeSwarm(fakeDefinition({ minimumReplicas: 1 }));
    swarm.join(1, 2, 3);
    swarm.join(4);
    for (const index of [1, 3, 4]) swarm.answer(fakeMiner(index));
    swarm.runOutOfTime();
    expect(swarm.state).toMatchObject({ attempt: 1, phase: { name: "preparing" } });
    expect(stages(swarm)[1]).not.toEqual([2]);
  });

  it("refuses a replica that starts from other weights", () => {
    const swarm = fullSwarm();
    swarm.finishEpoch();
    swarm.say(fakeMiner(2), { type: "ready", at: placeRef(swarm.state, 1), weightsHash: fakeHash("other") });
    swarm.reach("training");
    expect(stages(swarm)).toEqual([[1, 5], [6], [3, 4]]);
  });
});

describe("an epoch", () => {
  it("goes from preparing to a checkpoint, and credits everyone for their stage's share", () => {
    const swarm = fullSwarm();
    swarm.reach("training");
    expect(swarm.sent("start")).toHaveLength(6);
    swarm.finishEpoch();
    expect(swarm.state).toMatchObject({ epoch: 1, tokens: 2 * 256, checkpoint: null, credits: {} });
    swarm.finishUpload();
    const { state } = swarm;
    expect(state.checkpoint?.stages).toHaveLength(3);
    expect(state.epochs[0]).toMatchObject({ epoch: 0, tokens: 512, trainLossNats: 2, contributors: 6 });
    const total = Object.values(state.credits).reduce((sum, credits) => sum + credits, 0);
    // 1,000 micro-credits per token for the whole model, each of six shares rounded down.
    expect(total).toBeGreaterThan(512 * 1000 - 6);
    expect(total).toBeLessThanOrEqual(512 * 1000);
    expect(swarm.effects.filter((effect) => effect.type === "credit")).toHaveLength(6);
  });

  it("names in every roster who lives, and the sources that it began with", () => {
    const swarm = fullSwarm();
    swarm.reach("training");
    swarm.lose(5);
    const roster = swarm.sent("roster").at(-1)?.message.roster;
    expect(roster?.stages[0]?.map(({ minerId }) => minerId)).toEqual([fakeMiner(1)]);
    expect(roster?.sources.map(({ minerId }) => minerId)).toEqual([fakeMiner(1), fakeMiner(5)]);
    expect(roster?.version).toBeGreaterThan(swarm.sent("start")[0]?.message.roster.version ?? 0);
  });

  it("shares a stage's work out by how fast its replicas are, once one is clearly slower for some epochs", () => {
    const swarm = fullSwarm();
    const weights = () => {
      const replicas = swarm.sent("start").at(-1)?.message.roster.stages.flat() ?? [];
      return new Map(replicas.map(({ minerId, weight }) => [Number.parseInt(minerId, 16), weight]));
    };
    const courses: (number | undefined)[] = [];
    for (let epoch = 0; epoch < 8; epoch++) {
      swarm.reach("uploading");
      courses.push(weights().get(1));
      const report = swarm.report(1, "contributed");
      swarm.say(fakeMiner(1), { ...report, computeMs: 4 * report.computeMs });
      swarm.finishEpoch();
    }
    expect(courses.slice(0, 2)).toEqual([1000, 1000]);
    expect(courses.at(-1)).toBeLessThan(400);
  });

  it("does not wait for ever for a source that has become much slower than the others, and merges what that one did", () => {
    const swarm = fullSwarm();
    swarm.reach("training");
    swarm.nowMs += 100_000;
    swarm.answer(fakeMiner(1));
    const doneMs = swarm.nowMs;
    expect(swarm.state.phase.name).toBe("training");
    swarm.runOutOfTime();
    expect(swarm.nowMs - doneMs).toBe(50_000);
    expect(swarm.state.phase.name).toBe("uploading");
    swarm.finishEpoch();
    expect(swarm.state.epochs[0]?.contributors).toBe(6);
  });

  it("moves nobody because measurements scatter", () => {
    const swarm = fullSwarm();
    const places = () => swarm.state.members.map(({ stages: held }) => held);
    const before = places();
    for (let epoch = 0; epoch < 12; epoch++) {
      swarm.reach("uploading");
      for (const index of everyone) {
        const report = swarm.report(index, "contributed");
        const scatter = [0.25, 1, 4][(index * 7 + epoch * 5) % 3] ?? 1;
        swarm.say(fakeMiner(index), { ...report, computeMs: Math.round(scatter * report.computeMs) });
      }
      swarm.finishEpoch();
    }
    expect(places()).toEqual(before);
  });

  it("shares it out evenly in sync mode, whatever was measured", () => {
    const { training } = fakeDefinition();
    const swarm = fullSwarm(fakeDefinition({ training: { ...training, mode: "sync", stepsPerEpoch: 1 } }));
    swarm.reach("uploading");
    const report = swarm.report(1, "contributed");
    swarm.say(fakeMiner(1), { ...report, tokens: 64, computeMs: 4 * report.computeMs });
    swarm.reach("preparing");
    swarm.reach("training");
    expect(
      swarm
        .sent("start")
        .at(-1)
        ?.message.roster.stages.flat()
        .map((one) => one.weight),
    ).toEqual(everyone.map(() => 1000));
  });

  it("lets a late joiner warm up: it is prepared at once, given what is merged, and trains from the next epoch on", () => {
    const swarm = fullSwarm();
    swarm.reach("training");
    swarm.join(7);
    expect(receivers(swarm.sent("prepare")).at(-1)).toBe(7);
    expect(
      viewOf(swarm.state)
        .stages.flatMap(({ replicas }) => replicas)
        .find((one) => one.minerId === fakeMiner(7))?.state,
    ).toBe("warming-up");
    swarm.finishEpoch();
    expect(receivers(swarm.sent("start"))).not.toContain(7);
    expect(receivers(swarm.sent("upload"))).not.toContain(7);
    expect(receivers(swarm.sent("apply"))).toContain(7);
    expect(swarm.state.credits[fakeMiner(7)]).toBeUndefined();
    expect(swarm.state.start?.stages.flatMap(({ inStep }) => inStep)).toContain(fakeMiner(7));
    swarm.reach("training");
    expect(stages(swarm).flat()).toContain(7);
  });

  it("ignores what comes from outsiders or twice", () => {
    const swarm = fullSwarm();
    swarm.reach("uploading");
    const before = swarm.state;
    const contributed = swarm.report(1, "contributed");
    swarm.say(fakeMiner(9), contributed);
    swarm.say(fakeMiner(1), { ...contributed, at: { ...contributed.at, attempt: 7 } });
    swarm.say(fakeMiner(1), { type: "source-done", at: contributed.at, microbatchesDone: 1, microbatchesLost: 1 });
    expect(swarm.state).toBe(before);
    swarm.say(fakeMiner(1), contributed);
    const once = swarm.state;
    swarm.say(fakeMiner(1), { ...contributed, tokens: 1 });
    expect(swarm.state).toBe(once);
  });

  it("answers late and repeated reports by what it wants now", () => {
    const swarm = fullSwarm();
    swarm.reach("uploading");
    const at = placeRef(swarm.state, 0);
    const answers = (index: number, report: Parameters<FakeSwarm["say"]>[1]) =>
      swarm.say(fakeMiner(index), report).map((effect) => effect.type === "send" && [effect.message.type, effect.to]);
    const done = { type: "source-done", at, microbatchesDone: 1, microbatchesLost: 0 } as const;
    expect(answers(1, done)).toEqual([["upload", fakeMiner(1)]]);
    expect(answers(1, { ...done, at: { ...at, epoch: 7 } })).toEqual([["upload", fakeMiner(1)]]);
    swarm.answer(fakeMiner(1));
    expect(answers(1, done)).toEqual([]);
    expect(answers(9, done)).toEqual([["idle", fakeMiner(9)]]);
  });

  it("takes no contribution of more tokens than there were", () => {
    const swarm = fullSwarm();
    swarm.reach("uploading");
    swarm.say(fakeMiner(2), { ...swarm.report(2, "contributed"), tokens: 513 });
    swarm.finishEpoch();
    swarm.finishUpload();
    expect(swarm.state.credits[fakeMiner(2)]).toBeUndefined();
    expect(swarm.state.credits[fakeMiner(6)]).toBeGreaterThan(0);
  });

  it("is tried again when a stage has trained nothing", () => {
    const swarm = fullSwarm();
    swarm.reach("uploading");
    for (const index of everyone) swarm.say(fakeMiner(index), { ...swarm.report(index, "contributed"), tokens: 0 });
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
    expect(swarm.state).toMatchObject({ epoch: 1, phase: { name: "storing" } });
    expect(swarm.sent("idle").slice(6)).toEqual([]);
    swarm.finishUpload();
    expect(swarm.state).toMatchObject({ epoch: 1, checkpoint: { epoch: 1, tokens: 512 }, phase: { name: "paused" } });
    expect(swarm.sent("idle").slice(-6)).toHaveLength(6);
    swarm.happen({ type: "steered", action: "resume" });
    expect(swarm.state.phase.name).toBe("preparing");
    expect(swarm.sent("prepare").at(-1)?.message.checkpoint).toMatchObject(swarm.state.checkpoint?.stages[2] ?? {});
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
    expect(viewOf(swarm.state)).toMatchObject({
      phase: "storing",
      reason: "0 of 3 stages of the checkpoint are stored. The run ends afterwards.",
    });
    swarm.finishUpload();
    expect(swarm.state).toMatchObject({ tokens: 1024, phase: { name: "finished" } });
    expect(viewOf(swarm.state).reason).toBe("The run reached its target of 1000 tokens.");
    swarm.happen({ type: "steered", action: "resume" });
    expect(swarm.state.phase.name).toBe("finished");
  });
});

describe("another target", () => {
  it("lets a run that had reached the old one go on from its checkpoint", () => {
    const swarm = fullSwarm(fakeDefinition({ targetTokens: 512 }));
    swarm.reach("finished");
    swarm.happen({ type: "retargeted", targetTokens: 1024 });
    swarm.runOutOfTime();
    expect(swarm.state).toMatchObject({ epoch: 1, intent: "run", phase: { name: "preparing" } });
    swarm.reach("finished");
    expect(swarm.state).toMatchObject({ tokens: 1024, phase: { name: "finished" } });
  });

  it("lets it go on at once while what it merged last is still being stored", () => {
    const swarm = fullSwarm(fakeDefinition({ targetTokens: 512 }));
    swarm.reach("storing");
    swarm.happen({ type: "retargeted", targetTokens: 1024 });
    expect(swarm.state).toMatchObject({ epoch: 1, intent: "run", phase: { name: "preparing" } });
  });

  it("does not start a run again that its owner has ended", () => {
    const swarm = fullSwarm();
    swarm.happen({ type: "steered", action: "finish" });
    swarm.happen({ type: "retargeted", targetTokens: 1024 });
    expect(swarm.state.phase.name).toBe("finished");
  });
});
