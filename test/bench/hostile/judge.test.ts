import { expect, it } from "vitest";
import { attacks } from "./attacks.ts";
import type { Reading } from "./hostile-swarm.ts";
import { judge, type Observation, type Window } from "./judge.ts";

const megabyte = 1 << 20;
const [attack = expect.fail("there are no attacks")] = attacks;

/** Epochs of 1,000 tokens, one after the other; each takes so many seconds. */
function windows(durationsSeconds: readonly number[], refused = 0, peakMegabytes = 100): readonly Window[] {
  const reading = (atMs: number, epoch: number): Reading => ({
    atMs,
    tokens: 1000 * epoch,
    processor: { workers: epoch, daemons: 0.5 * epoch, orchestrator: 0.1 * epoch, links: 0 },
    peakBytes: { network: peakMegabytes * megabyte, miner: 0 },
    refusals: refused === 0 ? {} : { "too-many-connections": refused * epoch },
  });
  return durationsSeconds.map((seconds, index) => ({
    from: reading(0, index),
    to: reading(1000 * seconds, index + 1),
  }));
}

const harmless: Observation = {
  undisturbed: windows([10, 20, 10]),
  attacked: windows([15, 15], 5, 150),
  attempts: 300,
  crashes: [],
  logLines: 3,
};

it("an attack that costs little and is counted is withstood, whatever drifts meanwhile", () => {
  expect(judge(attack, harmless)).toMatchObject({
    attemptsPerSecond: 10,
    throughput: 0.889,
    processorSeconds: { attacked: { network: 0.1, miners: 1.5 } },
    growthBytes: { network: 50 * megabyte, miner: 0 },
    refusals: { "too-many-connections": 10 },
  });
  const quick = { ...harmless, attacked: windows([13, 13], 5) };
  expect(judge(attack, quick)).toMatchObject({ throughput: 1.026, failures: [], verdict: "met" });
});

it("one that slows the miners, fills the memory, goes uncounted or ends a process is not", () => {
  const quick = windows([10, 10], 5);
  const failuresOf = (part: Partial<Observation>) => judge(attack, { ...harmless, attacked: quick, ...part }).failures;
  expect(failuresOf({})).toEqual([]);
  expect(failuresOf({ attacked: windows([30, 30], 5) })).toEqual(["throughput is 0.444, not 0.95"]);
  expect(failuresOf({ attacked: windows([10, 10], 5, 1000) })).toEqual([
    "memory of the network grew by 943718400 bytes",
  ]);
  expect(failuresOf({ attacked: windows([10, 10]) })).toEqual(["nothing was counted as too-many-connections"]);
  expect(failuresOf({ crashes: ["bug: x"] })).toEqual(["bug: x"]);
});
