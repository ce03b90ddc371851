import { afterEach, expect, it } from "vitest";
import { runIdSchema } from "../../src/protocol/ids.ts";
import { Swarm } from "./processes/swarm.ts";

let swarm: Swarm | undefined;
afterEach(() => swarm?.close());

it("two runs train at once, and miners go where a new weight sends them without any work being lost", {
  timeout: 240_000,
}, async () => {
  const started = await Swarm.start({ stages: 1, replicas: 1, mode: "local-steps" });
  swarm = started;
  const first = runIdSchema.parse("tiny");
  await started.until(() => started.runs.has(first));
  const second = await started.command({
    type: "create-run",
    run: { preset: "tiny", weight: 1, stages: 1, replicas: 1, seed: 7 },
  });
  const epochs = (runId: typeof first) => started.runs.get(runId)?.epochs ?? [];
  const contributors = (runId: typeof first, count: number) =>
    epochs(runId).some((epoch) => epoch.contributors === count);
  started.startMiners(4);
  await started.until(() => contributors(first, 2) && contributors(second, 2));

  await started.command({ type: "reweight-run", runId: second, weight: 3 });
  await started.until(() => contributors(first, 1) && contributors(second, 3));
  const miners = started.summaries.map((run) => [run.runId, run.miners]);
  expect(miners).toEqual([
    [first, 1],
    [second, 3],
  ]);
  for (const runId of [first, second]) {
    const { view } = started.runs.get(runId) ?? expect.fail("the run is gone");
    expect(view.microbatchesLost).toBe(0);
    // No epoch failed because somebody was taken away.
    expect(view.attempt).toBe(0);
    expect(epochs(runId).map(({ epoch }) => epoch)).toEqual(epochs(runId).map((_, index) => index));
    const losses = epochs(runId).map(({ trainLossNats }) => trainLossNats ?? Number.NaN);
    expect(losses.at(-1)).toBeLessThan(losses[0] ?? 0);
  }
});
