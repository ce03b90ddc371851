import { afterEach, expect, it } from "vitest";
import { Swarm } from "./processes/swarm.ts";

let swarm: Swarm | undefined;
afterEach(() => swarm?.close());

it("three stages of two miners, each with its own processes, learn and stay identical", {
  timeout: 120_000,
}, async () => {
  const started = await Swarm.start({ stages: 3, replicas: 2, mode: "local-steps", tokens: 6000 });
  swarm = started;
  const miners = started.startMiners(6);
  await started.until(() => started.view?.phase === "finished");
  const { epochs, view } = started;
  const losses = epochs.map(({ trainLossNats }) => trainLossNats ?? Number.NaN);
  // A model that knows nothing is near ln 256 = 5.5 nats per byte; one that knows the bytes' frequencies is near 3.
  expect(losses[0]).toBeGreaterThan(5);
  expect(losses.at(-1)).toBeLessThan(4);
  expect(epochs.every(({ contributors }) => contributors === 6)).toBe(true);
  expect(view?.microbatchesLost).toBe(0);

  // All replicas of a stage say the same weights after every merge: one line for each stage and epoch, said by two miners or more.
  const merges = miners.flatMap(({ log }) => log.filter((line) => line.startsWith("Merged")));
  expect(new Set(merges).size).toBe(3 * epochs.length);
  expect(merges.length).toBeGreaterThanOrEqual(2 * 3 * epochs.length);
  expect(Object.keys(view?.credits ?? {})).toHaveLength(6);
});

it("miners that reach each other directly learn as well", { timeout: 120_000 }, async () => {
  const run = { stages: 2, replicas: 2, mode: "local-steps", tokens: 3000 } as const;
  const started = await Swarm.start(run, { listenHost: "127.0.0.1", publicHost: "127.0.0.1", firstPort: 0 });
  swarm = started;
  const miners = started.startMiners(4);
  await started.until(() => started.view?.phase === "finished");
  expect(started.epochs.every(({ contributors }) => contributors === 4)).toBe(true);
  expect(started.view?.microbatchesLost).toBe(0);
  for (const { log } of miners)
    expect(log).toContainEqual(expect.stringMatching(/^Messages to [0-9a-f]{8} go directly\.$/));
});
