/** Training is interrupted in its middle, mostly by force; it goes on, and nothing that was credited is lost. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RunView } from "../../src/protocol/run-view.ts";
import { kill, type MinerProcess, Swarm } from "./processes/swarm.ts";

describe("interrupted in mid-training", { timeout: 120_000 }, () => {
  let swarm: Swarm;
  let miners: MinerProcess[];
  beforeAll(async () => {
    swarm = await Swarm.start({ stages: 3, replicas: 2, mode: "local-steps" });
    miners = swarm.startMiners(6);
    await swarm.untilEpochs(3);
  }, 120_000);
  afterAll(() => swarm.close());

  /** Waits for an epoch that begins from now on and that so many miners contributed to. */
  async function epochWith(contributors: number): Promise<void> {
    const from = swarm.epochs.length + 1;
    await swarm.until(() => swarm.epochs.slice(from).some((epoch) => epoch.contributors === contributors));
  }

  function expectNothingLost(before: RunView): void {
    const after = view();
    expect(after.tokens).toBeGreaterThan(before.tokens);
    for (const [miner, credits] of Object.entries(before.credits))
      expect(after.credits[miner as keyof typeof after.credits]).toBeGreaterThanOrEqual(credits);
    // Every epoch is on record once, in order.
    expect(swarm.epochs.map(({ epoch }) => epoch)).toEqual(swarm.epochs.map((_, index) => index));
  }

  function view(): RunView {
    if (swarm.view === null) throw new Error("the network has shown nothing yet");
    return swarm.view;
  }

  it("a miner is missed by nobody, and trains again when it is back", async () => {
    const before = view();
    const [victim] = miners;
    if (victim === undefined) throw new Error("no miner");
    await kill(victim.child);
    await epochWith(5);
    expectNothingLost(before);
    miners[0] = swarm.startMiner("miner 1");
    await epochWith(6);
    expectNothingLost(before);
    expect(miners[0].latest?.minerId).toBe(victim.latest?.minerId);
  });

  it("a compute worker is started again by its miner", async () => {
    const before = view();
    const victim = miners[1];
    const [pid] = victim?.latest?.workers ?? [];
    if (victim === undefined || pid === undefined) throw new Error("no worker");
    process.kill(pid, "SIGKILL");
    await swarm.until(() => victim.latest?.workers[0] !== undefined && victim.latest.workers[0] !== pid);
    await epochWith(6);
    expectNothingLost(before);
    expect(victim.child.exitCode).toBeNull();
    expect(victim.log.join("\n")).toContain("The compute worker was ended by SIGKILL.");
  });

  it("a run that its owner pauses merges what it has, and goes on when it is resumed", async () => {
    const before = view();
    await swarm.command({ type: "steer-run", runId: view().runId, action: "pause" });
    await swarm.until(() => view().phase === "paused");
    const paused = view();
    await swarm.command({ type: "steer-run", runId: view().runId, action: "resume" });
    await epochWith(6);
    expectNothingLost(before);
    expect(view().epoch).toBeGreaterThan(paused.epoch);
    expect(miners.flatMap(({ log }) => log.filter((line) => line.includes("Error")))).toEqual([]);
  });

  it("the orchestrator goes on from its log, at the last merge or later", async () => {
    const before = view();
    const { port } = swarm;
    await kill(swarm.networkProcess);
    await swarm.startNetwork(port);
    await epochWith(6);
    expectNothingLost(before);
  });
});
