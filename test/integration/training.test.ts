import { afterEach, expect, it } from "vitest";
import { Swarm } from "./processes/swarm.ts";

let swarm: Swarm | undefined;
afterEach(() => swarm?.close());

it("three stages of two miners each, all processes of their own, learn and stay identical", {
  timeout: 60_000,
}, async () => {
  swarm = await Swarm.start({ stages: 3, replicas: 2, training: {}, targetTokens: 20_000 });
  const miners = swarm.startMiners(6);
  await swarm.until(() => swarm?.view?.phase === "finished");
  const { epochs, view } = swarm;
  console.log(
    epochs.map((e) => [e.epoch, e.trainLossNats, e.durationMs]),
    view,
  );
  expect(view?.microbatchesLost).toBe(0);
});
