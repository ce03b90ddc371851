import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { MinerId } from "../../../protocol/ids.ts";
import type { Report } from "./fake-miner.ts";
import { FakeSwarm, fakeDefinition, fakeHash, fakeMiner } from "./fake-swarm.ts";

type Reduced = Extract<Report, { type: "reduced" }>;

/** What the first miner does; all others are honest. */
interface Fault {
  /** By partition, whether it hands its slice to nobody. */
  readonly withholds: readonly boolean[];
  /** Of each partition, what it reports: the truth, or as if its own slice were in it, or everybody's or the others' missing, or nothing true. */
  readonly says: readonly ("truth" | "all" | "all-missing" | "others-missing" | "garbage")[];
}

const faulty = fakeMiner(1);
const partitions = 6;
const fault: fc.Arbitrary<Fault> = fc.record({
  withholds: fc.array(fc.boolean(), { minLength: partitions, maxLength: partitions }),
  says: fc.array(fc.constantFrom("truth", "all", "all-missing", "others-missing", "garbage"), {
    minLength: partitions,
    maxLength: partitions,
  }),
});

/** What honest miners find out, and what the faulty one makes of it. `contributors`: all of them, in the merge's order. */
function reportOf(miner: MinerId, report: Reduced, contributors: readonly MinerId[], { withholds, says }: Fault) {
  const slices = report.slices.map(({ partition }) => {
    const withheld = withholds[partition] === true ? [contributors.indexOf(faulty)] : [];
    const others = [...contributors.keys()].filter((index) => contributors[index] !== faulty);
    const average = (without: readonly number[]) => fakeHash(`${partition} without ${without.join()}`);
    const word = miner === faulty ? (says[partition] ?? "truth") : "truth";
    const words = {
      truth: { hash: average(withheld), missing: withheld },
      all: { hash: average([]), missing: [] },
      "all-missing": { hash: null, missing: [...contributors.keys()] },
      "others-missing": { hash: average(withheld), missing: others },
      garbage: { hash: fakeHash("garbage"), missing: [partition, 99] },
    };
    return { partition, ...words[word] };
  });
  return { ...report, slices };
}

/** Merges one epoch, `isLost` without the faulty miner. By miner, how many partitions of its contribution are to be credited. */
function partsCounted(replicas: number, given: Fault, isLost: boolean): ReadonlyMap<MinerId, number> {
  const swarm = new FakeSwarm(fakeDefinition({ stages: 1, minimumReplicas: replicas }));
  swarm.join(...Array.from({ length: replicas }, (_, index) => index + 1));
  swarm.reach("merging");
  const { phase } = swarm.state;
  if (phase.name !== "merging") throw new Error(`${phase.name}, not merging`);
  const [merge] = phase.stages;
  const contributors = merge?.contributors.map(({ minerId }) => minerId) ?? [];
  const count = merge?.partitions.length ?? 0;
  expect(count).toBe(replicas);
  if (isLost) swarm.loseForGood(1);
  for (let round = 0; swarm.state.epoch === 0 && round < 20; round++)
    for (const { minerId } of swarm.state.members)
      for (const report of swarm.miner(minerId).reports())
        swarm.say(minerId, report.type === "reduced" ? reportOf(minerId, report, contributors, given) : report);
  expect(swarm.state.epoch).toBe(1);
  const [tokens = 0] = merge?.contributors.map((one) => one.tokens) ?? [];
  const earned = swarm.state.uncredited.map((one) => [one.minerId, Math.round((one.tokens * count) / tokens)] as const);
  return new Map(earned);
}

describe("one faulty miner", () => {
  const replicas = fc.integer({ min: 3, max: partitions });

  it("takes nothing from others where there are three replicas or more, and earns nothing for what it hands to nobody", () => {
    fc.assert(
      fc.property(replicas, fault, fc.boolean(), (count, given, isLost) => {
        const parts = partsCounted(count, given, isLost);
        for (let index = 2; index <= count; index++) expect(parts.get(fakeMiner(index))).toBe(count);
        const handedOver = given.withholds.slice(0, count).filter((isWithheld) => !isWithheld).length;
        expect(parts.get(faulty) ?? 0).toBe(handedOver);
      }),
      { seed: 20_261_126, numRuns: 100 },
    );
  });

  it("among two earns no more than the other, and nothing for what it hands to nobody", () => {
    fc.assert(
      fc.property(fault, fc.boolean(), (given, isLost) => {
        const parts = partsCounted(2, given, isLost);
        const handedOver = given.withholds.slice(0, 2).filter((isWithheld) => !isWithheld).length;
        expect(parts.get(faulty) ?? 0).toBeLessThanOrEqual(handedOver);
        expect(parts.get(faulty) ?? 0).toBeLessThanOrEqual(parts.get(fakeMiner(2)) ?? 0);
      }),
      { seed: 20_261_126, numRuns: 100 },
    );
  });
});
