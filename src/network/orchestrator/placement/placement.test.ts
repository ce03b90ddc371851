import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { placementViewSchema } from "../../../protocol/placement-view.ts";
import { bestScore, scoreOf } from "./exact-placement.ts";
import { placementView } from "./explain.ts";
import { anySwarm, fakeMiner, fakeMinerId, fakeStages } from "./fake-miners.ts";
import {
  type Assignment,
  type MinerResources,
  type Placement,
  type PlacementRequest,
  place,
  placeNewcomer,
} from "./placement.ts";

const seed = 20_261_126;
const swarm = (stages: number, miners: number) => anySwarm({ stages, miners });

function request(
  stages: number,
  miners: readonly MinerResources[],
  current: readonly Assignment[] = [],
): PlacementRequest {
  return { stages: fakeStages(stages), miners, current };
}

function placesOf(assignments: readonly Assignment[]): (readonly number[])[] {
  return assignments.map(({ stages }) => stages);
}

function replicasOf(assignments: readonly Assignment[], stages: number): number[] {
  return Array.from({ length: stages }, (_, stage) => assignments.filter((one) => one.stages.includes(stage)).length);
}

/** A miner is slower or faster than it was, and has another amount of memory. */
const change = fc.record({
  miner: fc.nat(),
  now: fc.record({
    blockTokensPerSecond: fc.integer({ min: 1, max: 100 }),
    memoryBytes: fc.integer({ min: 1, max: 24 }),
  }),
});

describe(`placing a new swarm (seed ${seed})`, () => {
  it("covers as much as any placement does, and lets through at least 95 % of what the best one does", () => {
    const ratios: number[] = [];
    fc.assert(
      fc.property(swarm(4, 6), (asked) => {
        const { assignments, tokensPerSecond } = place(asked);
        const found = scoreOf(asked, assignments);
        const best = bestScore(asked);
        expect(tokensPerSecond).toBeCloseTo(found.tokensPerSecond, 6);
        expect(found.coverage).toEqual(best.coverage);
        expect(found.tokensPerSecond).toBeGreaterThanOrEqual(0.95 * best.tokensPerSecond);
        if (best.tokensPerSecond > 0) ratios.push(found.tokensPerSecond / best.tokensPerSecond);
      }),
      { numRuns: 400, seed },
    );
    expect(ratios.length).toBeGreaterThan(200);
  });

  it("gives each miner one stage where that is as good, and each stage as many", () => {
    const { assignments, tokensPerSecond } = place(
      request(
        3,
        Array.from({ length: 6 }, (_, index) => fakeMiner(index, { memoryBytes: 100 })),
      ),
    );
    expect(placesOf(assignments).every((stages) => stages.length === 1)).toBe(true);
    expect(replicasOf(assignments, 3)).toEqual([2, 2, 2]);
    expect(tokensPerSecond).toBe(200);
  });

  it("lets one machine hold the whole pipeline", () => {
    const { assignments, tokensPerSecond } = place(request(4, [fakeMiner(0, { memoryBytes: 40 })]));
    expect(placesOf(assignments)).toEqual([[0, 1, 2, 3]]);
    expect(tokensPerSecond).toBe(25);
  });

  it("brings small miners together where one large one would be alone", () => {
    const miners = [fakeMiner(0, { memoryBytes: 40 }), fakeMiner(1), fakeMiner(2), fakeMiner(3), fakeMiner(4)];
    const { assignments } = place(request(4, miners));
    expect(Math.min(...replicasOf(assignments, 4))).toBe(2);
  });

  it("counts on reliable miners only where a stage needs two", () => {
    const miners = [0, 1, 2, 3, 4, 5].map((index) => fakeMiner(index, { reliable: index > 1 }));
    const { assignments } = place(request(2, miners));
    expect(replicasOf(assignments.slice(2), 2)).toEqual([2, 2]);
  });

  it("brings slow links to where least crosses them", () => {
    const [end, middle] = [10, 20].map((bytesPerToken) => ({ memoryBytes: 10, work: 1, bytesPerToken }));
    const stages = [end, middle, end].flatMap((stage) => stage ?? []);
    const miners = [0, 1, 2].map((index) => fakeMiner(index, { linkBytesPerSecond: index === 0 ? 2000 : 1000 }));
    const { assignments, tokensPerSecond } = place({ stages, miners, current: [] });
    expect(assignments[0]?.stages).toEqual([1]);
    expect(tokensPerSecond).toBe(100);
  });
});

/** New swarms, and the same when some miners have left and others are slower or have less memory. */
function changingSwarms(): readonly { readonly asked: PlacementRequest; readonly placement: Placement }[] {
  const happening = fc.tuple(swarm(9, 14), fc.array(change, { maxLength: 3 }), fc.array(fc.nat(), { maxLength: 2 }));
  return fc.sample(happening, { numRuns: 40, seed }).flatMap(([first, changes, leavers]) => {
    const placed = { asked: first, placement: place(first) };
    const gone = leavers.map((one) => one % first.miners.length);
    const miners = first.miners
      .map((miner, index) => ({ ...miner, ...changes.find((one) => one.miner % first.miners.length === index)?.now }))
      .filter((_, index) => !gone.includes(index));
    const asked = { stages: first.stages, miners, current: placed.placement.assignments };
    return [placed, { asked, placement: place(asked) }];
  });
}

describe(`any placement (seed ${seed})`, () => {
  const placed = changingSwarms();

  it("stays within each miner's memory", () => {
    for (const { asked, placement } of placed)
      for (const [index, { stages }] of placement.assignments.entries()) {
        const bytes = stages.reduce((sum, stage) => sum + (asked.stages[stage]?.memoryBytes ?? 0), 0);
        expect(bytes).toBeLessThanOrEqual(asked.miners[index]?.memoryBytes ?? 0);
      }
  });

  it("uses every miner that fits any stage, and says of the others what they lack", () => {
    for (const { asked, placement } of placed) {
      const least = Math.min(...asked.stages.map(({ memoryBytes }) => memoryBytes));
      for (const [index, { minerId, stages }] of placement.assignments.entries()) {
        const memoryBytes = asked.miners[index]?.memoryBytes ?? 0;
        expect(stages.length > 0).toBe(memoryBytes >= least);
        if (stages.length > 0) continue;
        expect(placement.explanations).toContainEqual({ kind: "idle", minerId, neededBytes: least, memoryBytes });
      }
    }
  });

  it("does not depend on the order of the miners", () => {
    for (const { asked, placement } of placed) {
      const reversed = place({ ...asked, miners: asked.miners.toReversed(), current: asked.current.toReversed() });
      expect(reversed.assignments.toReversed()).toEqual(placement.assignments);
    }
  });

  it("is kept when nothing has changed", () => {
    for (const { asked, placement } of placed) {
      const { assignments, moves } = place({ ...asked, current: placement.assignments });
      expect({ assignments, moves }).toEqual({ assignments: placement.assignments, moves: 0 });
    }
  });

  it("leaves no stage without a replica where a miner has room for it, or another one can do without what it holds", () => {
    for (const { asked, placement } of placed) {
      const replicas = replicasOf(placement.assignments, asked.stages.length);
      for (const [stage, { memoryBytes }] of asked.stages.entries()) {
        if (replicas[stage] !== 0) continue;
        const spare = placement.assignments.some(({ stages }, index) => {
          const fits = memoryBytes <= (asked.miners[index]?.memoryBytes ?? 0);
          return fits && stages.every((one) => (replicas[one] ?? 0) > 1);
        });
        expect(spare).toBe(false);
      }
    }
  });

  it("explains each place, in a view that the protocol knows", () => {
    for (const { asked, placement } of placed) {
      const view = placementViewSchema.parse(placementView(asked, placement));
      const explained = view.explanations.flatMap((one) => (one.kind === "placed" ? [one] : []));
      expect(explained.map(({ minerId, stage }) => [minerId, stage])).toEqual(
        placement.assignments.flatMap(({ minerId, stages }) => stages.map((stage) => [minerId, stage])),
      );
      for (const { index, tokensPerSecond } of view.stages) {
        expect(tokensPerSecond).toBeGreaterThanOrEqual(view.tokensPerSecond * (1 - 1e-6));
        const shares = explained.filter(({ stage }) => stage === index).map(({ share }) => share);
        if (shares.length > 0) expect(shares.reduce((sum, share) => sum + share)).toBeCloseTo(1, 6);
      }
    }
  });

  it("moves only for more coverage or clearly more tokens per second", () => {
    for (const { asked, placement } of placed) {
      const kept = scoreOf(asked, asked.current);
      const settled = asked.current.filter(({ stages }) => stages.length > 0).map(({ minerId }) => minerId);
      const moved = placement.assignments.filter(({ minerId, stages }) => {
        const before = asked.current.find((one) => one.minerId === minerId)?.stages ?? [];
        return settled.includes(minerId) && stages.some((stage) => !before.includes(stage));
      });
      const fits = ({ minerId, stages }: Assignment) => {
        const bytes = stages.reduce((sum, stage) => sum + (asked.stages[stage]?.memoryBytes ?? 0), 0);
        return bytes <= (asked.miners.find((miner) => miner.minerId === minerId)?.memoryBytes ?? bytes);
      };
      if (moved.length === 0 || !asked.current.every(fits)) continue;
      const score = scoreOf(asked, placement.assignments);
      const covers = score.coverage.join() !== kept.coverage.join();
      expect(covers || score.tokensPerSecond > 1.05 * kept.tokensPerSecond).toBe(true);
    }
  });
});

describe("a swarm that changes", () => {
  const twelve = Array.from({ length: 12 }, (_, index) => fakeMiner(index));
  const settled = place(request(3, twelve)).assignments;

  it("moves nobody for a newcomer", () => {
    const { assignments, moves } = place(request(3, [...twelve, fakeMiner(12)], settled));
    expect(assignments.slice(0, 12)).toEqual(settled);
    expect(moves).toBe(1);
  });

  it("moves nobody when one of many leaves", () => {
    const { moves } = place(request(3, twelve.slice(1), settled));
    expect(moves).toBe(0);
  });

  it("moves one miner to a stage that keeps only one", () => {
    const gone = settled.filter(({ stages }) => stages.includes(1)).slice(1);
    const rest = twelve.filter(({ minerId }) => gone.every((one) => one.minerId !== minerId));
    const { assignments, moves } = place(request(3, rest, settled));
    expect(replicasOf(assignments, 3)).toEqual([3, 3, 3]);
    expect(moves).toBe(2);
  });

  it("moves nobody for a miner that is a little slower, and somebody for one that is much slower", () => {
    const six = twelve.slice(0, 6);
    const places = place(request(2, six)).assignments;
    const withRate = (blockTokensPerSecond: number) => [fakeMiner(0, { blockTokensPerSecond }), ...six.slice(1)];
    expect(place(request(2, withRate(90), places)).moves).toBe(0);
    const many = Array.from({ length: 8 }, (_, index) => fakeMiner(index));
    const current = many.map(({ minerId }, index) => ({ minerId, stages: [index < 5 ? 0 : 1] }));
    const { moves, assignments } = place(request(2, many, current));
    expect(moves).toBe(1);
    expect(replicasOf(assignments, 2)).toEqual([4, 4]);
  });
});

describe("placing one newcomer", () => {
  const three = [0, 1, 2].map((index) => fakeMiner(index));
  const current = three.map(({ minerId }, stage) => ({ minerId, stages: [stage] }));

  it("gives back the former place where that is about as good", () => {
    expect(placeNewcomer(request(3, three, current), fakeMiner(3), [2])).toEqual([2]);
  });

  it("gives another place where that covers more", () => {
    const alone = request(3, three.slice(0, 2), current);
    expect(placeNewcomer(alone, fakeMiner(3), [0])).toEqual([2]);
  });

  it("gives several stages to one with room for them where that helps", () => {
    const alone = request(3, three.slice(0, 1), current);
    expect(placeNewcomer(alone, fakeMiner(3, { memoryBytes: 30 }), [])).toEqual([0, 1, 2]);
  });

  it("gives a miner no more stages than its owner allows, however much memory it has", () => {
    const miners = [
      fakeMiner(1, { memoryBytes: 100, maximumStages: 2 }),
      fakeMiner(2, { memoryBytes: 100, maximumStages: 1 }),
    ];
    const { assignments } = place({ stages: fakeStages(3), miners, current: [] });
    expect(assignments.map(({ stages }) => stages.length)).toEqual([2, 1]);
    expect(
      placeNewcomer(
        { stages: fakeStages(3), miners: [], current: [] },
        fakeMiner(3, { memoryBytes: 100, maximumStages: 1 }),
        [],
      ),
    ).toHaveLength(1);
  });

  it("gives none to one that no stage fits", () => {
    expect(placeNewcomer(request(3, three, current), fakeMiner(3, { memoryBytes: 9 }), [0])).toEqual([]);
  });

  it("knows one that is listed already", () => {
    expect(placeNewcomer(request(3, three, current), fakeMiner(2), [])).toEqual([2]);
    expect(three.map(({ minerId }) => minerId)).toContain(fakeMinerId(2));
  });
});
