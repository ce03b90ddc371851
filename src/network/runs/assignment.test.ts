import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type MinerId, type RunId, runIdSchema } from "../../protocol/ids.ts";
import { fakeMiner } from "../orchestrator/core/fake-swarm.ts";
import { type AssignableMiner, type AssignableRun, assignRuns } from "./assignment.ts";

const runId = (name: string): RunId => runIdSchema.parse(name);
/** Each stage fills the memory of one of the `miners` below. */
const run = (name: string, weight = 1, stages = 1): AssignableRun => ({
  runId: runId(name),
  weight,
  stageBytes: new Array(stages).fill(1),
});
const miners = (count: number, part: Partial<AssignableMiner> = {}, first = 0): readonly AssignableMiner[] =>
  Array.from({ length: count }, (_, index) => ({
    minerId: fakeMiner(first + index),
    runId: null,
    tokensPerSecond: 100,
    memoryBytes: 1,
    busy: false,
    ...part,
  }));

function countOf(assignment: ReadonlyMap<MinerId, RunId>, name: string): number {
  return [...assignment.values()].filter((assigned) => assigned === name).length;
}

function after(
  assignment: ReadonlyMap<MinerId, RunId>,
  before: readonly AssignableMiner[],
): readonly AssignableMiner[] {
  return before.map((miner) => ({ ...miner, runId: assignment.get(miner.minerId) ?? null }));
}

function moves(assignment: ReadonlyMap<MinerId, RunId>, before: readonly AssignableMiner[]): readonly MinerId[] {
  return before
    .filter((one) => one.runId !== null && one.runId !== assignment.get(one.minerId))
    .map((one) => one.minerId);
}

describe("the assignment of miners to runs", () => {
  it("shares capacity in proportion to the weights", () => {
    const assignment = assignRuns([run("a", 3), run("b", 1)], miners(8));
    expect([countOf(assignment, "a"), countOf(assignment, "b")]).toEqual([6, 2]);
  });

  it("counts what miners can do, not how many there are", () => {
    const swift = miners(1, { tokensPerSecond: 400 });
    const assignment = assignRuns([run("a"), run("b")], [...swift, ...miners(4, {}, 1)]);
    const swiftRun = assignment.get(fakeMiner(0)) ?? expect.fail("nobody has it");
    expect(countOf(assignment, swiftRun)).toBe(1);
  });

  it("takes a miner that was never measured for the median of the others", () => {
    const unknown = miners(2, { tokensPerSecond: null }, 2);
    const assignment = assignRuns([run("a"), run("b")], [...miners(2), ...unknown]);
    expect([countOf(assignment, "a"), countOf(assignment, "b")]).toEqual([2, 2]);
  });

  it("gives a light run the miners without which it cannot train", () => {
    const assignment = assignRuns([run("heavy", 100, 3), run("light", 1, 3)], miners(8));
    expect([countOf(assignment, "heavy"), countOf(assignment, "light")]).toEqual([5, 3]);
  });

  it("leaves the miners of a run that cannot train to those that can", () => {
    const split = [...miners(3, { runId: runId("a") }), ...miners(2, { runId: runId("b") }, 3)];
    expect(countOf(assignRuns([run("a", 1, 3), run("b", 1, 3)], split), "a")).toBe(5);
    expect(countOf(assignRuns([run("a", 5, 9), run("b", 1, 3)], split), "b")).toBe(5);
  });

  it("counts on a miner for as many stages as its memory holds", () => {
    const [large] = miners(1, { memoryBytes: 4 });
    const small = miners(3, {}, 1);
    const assignment = assignRuns([run("a", 1, 3), run("b", 1, 3)], [...(large ? [large] : []), ...small]);
    expect([countOf(assignment, "a"), countOf(assignment, "b")].sort()).toEqual([1, 3]);
  });

  it("never moves the only miner that has room for a stage", () => {
    const wide: AssignableRun = { runId: runId("wide"), weight: 1, stageBytes: [3, 1] };
    const swarm = [...miners(1, { memoryBytes: 4, runId: runId("wide") }), ...miners(1, { runId: runId("wide") }, 1)];
    const assignment = assignRuns([wide, run("narrow", 9)], swarm);
    expect(assignment.get(fakeMiner(0))).toBe("wide");
    expect(assignment.get(fakeMiner(1))).toBe("narrow");
  });

  it("gathers everybody in one run where none can train yet", () => {
    expect(countOf(assignRuns([run("a", 5, 9), run("b", 1, 3)], miners(2)), "b")).toBe(2);
  });

  it("gives nobody anything to do without runs", () => {
    expect(assignRuns([], miners(2)).size).toBe(0);
  });

  it("sends a newcomer where most is missing, and moves nobody else", () => {
    const settled = [...miners(4, { runId: runId("a") }), ...miners(3, { runId: runId("b") }, 4)];
    const swarm = [...settled, ...miners(1, {}, 7)];
    const assignment = assignRuns([run("a"), run("b")], swarm);
    expect(assignment.get(fakeMiner(7))).toBe("b");
    expect(moves(assignment, swarm)).toEqual([]);
  });

  it("moves nobody for a small imbalance", () => {
    const swarm = [...miners(22, { runId: runId("a") }), ...miners(20, { runId: runId("b") }, 22)];
    expect(moves(assignRuns([run("a"), run("b")], swarm), swarm)).toEqual([]);
  });

  it("moves as many as a new weight asks for, and those without a place in an epoch first", () => {
    const [idle, busy] = [miners(1, { runId: runId("a") }, 3), miners(3, { runId: runId("a"), busy: true })];
    const swarm = [...busy, ...idle, ...miners(4, { runId: runId("b"), busy: true }, 4)];
    const assignment = assignRuns([run("a", 3), run("b", 5)], swarm);
    expect(moves(assignment, swarm)).toEqual([fakeMiner(3)]);
  });

  const someRuns = fc
    .array(fc.record({ weight: fc.integer({ min: 1, max: 20 }), stages: fc.integer({ min: 1, max: 5 }) }), {
      minLength: 1,
      maxLength: 4,
    })
    .map((parts) => parts.map(({ weight, stages }, index) => run(`run-${index}`, weight, stages)));
  const someMiners = fc
    .array(
      fc.record({
        runId: fc.option(fc.integer({ min: 0, max: 4 }).map((index) => runId(`run-${index}`))),
        tokensPerSecond: fc.option(fc.integer({ min: 1, max: 1000 })),
        memoryBytes: fc.integer({ min: 0, max: 3 }),
        busy: fc.boolean(),
      }),
      { maxLength: 24 },
    )
    .map((parts) => parts.map((part, index) => ({ ...part, minerId: fakeMiner(index) })));

  it("whatever there is, gives every miner one run, and every run that it serves what it needs", () => {
    fc.assert(
      fc.property(someRuns, someMiners, (runs, swarm) => {
        const assignment = assignRuns(runs, swarm);
        expect([...assignment.keys()].sort()).toEqual(swarm.map(({ minerId }) => minerId).sort());
        const served = runs.filter((one) => countOf(assignment, one.runId) > 0);
        const room = (some: readonly AssignableMiner[]) => some.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
        const starved = served.filter(
          ({ runId: id, stageBytes }) =>
            room(swarm.filter(({ minerId }) => assignment.get(minerId) === id)) < stageBytes.length,
        );
        if (runs.some(({ stageBytes }) => stageBytes.length <= room(swarm))) expect(starved).toEqual([]);
        const alike = swarm.map((one) => ({ ...one, memoryBytes: 1 }));
        const needed = runs.reduce((sum, { stageBytes }) => sum + stageBytes.length, 0);
        if (needed <= swarm.length) expect(new Set(assignRuns(runs, alike).values()).size).toBe(runs.length);
      }),
      { numRuns: 1000 },
    );
  });

  it("is the same in whatever order runs and miners are named, and stays when it is asked for again", () => {
    fc.assert(
      fc.property(someRuns, someMiners, (runs, swarm) => {
        const assignment = assignRuns(runs, swarm);
        expect(sorted(assignRuns([...runs].reverse(), [...swarm].reverse()))).toEqual(sorted(assignment));
        expect(sorted(assignRuns(runs, after(assignment, swarm)))).toEqual(sorted(assignment));
      }),
      { numRuns: 1000 },
    );
  });

  it("leaves no run further above its share than its slowest miner, or the tolerance", () => {
    fc.assert(
      fc.property(someRuns, someMiners, (runs, swarm) => {
        const measured = swarm.map((one) => ({ ...one, tokensPerSecond: one.tokensPerSecond ?? 1, memoryBytes: 1 }));
        const assignment = assignRuns(runs, measured);
        const served = runs.filter((one) => countOf(assignment, one.runId) > 0);
        const rate = (some: readonly { tokensPerSecond: number }[]) =>
          some.reduce((sum, { tokensPerSecond }) => sum + tokensPerSecond, 0);
        const weights = served.reduce((sum, { weight }) => sum + weight, 0);
        for (const one of served) {
          const own = measured.filter(({ minerId }) => assignment.get(minerId) === one.runId);
          // Those who hold its stages stay, whatever its share.
          if (own.length <= one.stageBytes.length) continue;
          const share = (rate(measured) * one.weight) / weights;
          const slowest = Math.min(...own.map(({ tokensPerSecond }) => tokensPerSecond));
          expect(rate(own) - share).toBeLessThanOrEqual(Math.max(slowest, share / 10) * (1 + 1e-6));
        }
      }),
      { numRuns: 1000 },
    );
  });
});

function sorted(assignment: ReadonlyMap<MinerId, RunId>): readonly (readonly [MinerId, RunId])[] {
  return [...assignment].sort(([a], [b]) => (a < b ? -1 : 1));
}
