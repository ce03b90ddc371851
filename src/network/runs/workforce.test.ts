import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type MinerId, type RunId, runIdSchema } from "../../protocol/ids.ts";
import { fakeMiner } from "../orchestrator/core/fake-swarm.ts";
import type { Happening } from "../orchestrator/orchestrator.ts";
import { type Employer, Workforce } from "./workforce.ts";

const device = {
  platform: "test",
  cpu: "test",
  cores: 1,
  memoryBytes: 1,
  memoryLimitBytes: 1,
  maximumStages: 64,
  backend: "reference",
  precision: "f32",
  adapter: null,
  blockTokensPerSecond: null,
} as const;

/** A run without an orchestrator: tests say who is in the middle of an epoch, and see what happened to it. */
class FakeRun implements Employer {
  readonly runId: RunId;
  readonly stageBytes: readonly number[];
  weight = 1;
  isActive = true;
  readonly busy = new Set<MinerId>();
  readonly happened: string[] = [];
  readonly orchestrator = {
    submit: (event: Happening) => {
      if (event.type === "message") this.happened.push(`${event.message.type} ${numberOf(event.from)}`);
      if (event.type === "session-closed") this.happened.push(`lost ${numberOf(event.minerId)}`);
    },
  };

  /** Each stage fills a miner's memory. */
  constructor(name: string, stages: number) {
    this.runId = runIdSchema.parse(name);
    this.stageBytes = new Array(stages).fill(device.memoryLimitBytes);
  }

  trains(minerId: MinerId): boolean {
    return this.busy.has(minerId);
  }

  canRelease(minerId: MinerId): boolean {
    return !this.busy.has(minerId);
  }
}

function numberOf(minerId: MinerId): number {
  return Number.parseInt(minerId, 16);
}

describe("the workforce", () => {
  let runs: FakeRun[];
  let told: string[];
  let workforce: Workforce<FakeRun>;
  beforeEach(() => {
    vi.useFakeTimers();
    runs = [new FakeRun("a", 2), new FakeRun("b", 2)];
    told = [];
    workforce = new Workforce({
      runs: () => runs,
      clock: () => Date.now(),
      assigned: (minerId, run) => told.push(`${numberOf(minerId)} ${run?.runId ?? "none"}`),
    });
  });
  afterEach(() => {
    workforce.close();
    vi.useRealTimers();
  });

  const join = (...numbers: readonly number[]) => {
    for (const number of numbers)
      workforce.join(fakeMiner(number), `miner ${number}`, { type: "join", device, held: [] });
  };
  const membersOf = (run: FakeRun | undefined) =>
    [1, 2, 3, 4].filter((number) => run !== undefined && workforce.runOf(fakeMiner(number)) === run);

  it("keeps a lost miner's place for it, and gives it away when the miner stays away", () => {
    join(1, 2, 3, 4);
    const [a, b] = runs;
    expect([membersOf(a), membersOf(b)].map((members) => members.length)).toEqual([2, 2]);
    const [lost = 0] = membersOf(b);
    workforce.lose(fakeMiner(lost));
    expect(b?.happened.at(-1)).toBe(`lost ${lost}`);
    expect(membersOf(b)).toHaveLength(1);
    vi.advanceTimersByTime(29_000);
    expect(membersOf(a)).toHaveLength(2);
    join(lost);
    expect(membersOf(b)).toHaveLength(2);

    workforce.lose(fakeMiner(lost));
    vi.advanceTimersByTime(31_000);
    // With three miners only one of the two runs can train.
    expect(membersOf(a)).toHaveLength(3);
    expect(membersOf(b)).toEqual([]);
  });

  it("tells a miner of its run before the run hears of the miner, and the old run that it is gone", () => {
    const [a, b] = runs;
    if (a === undefined || b === undefined) return expect.fail("there are two runs");
    b.isActive = false;
    join(1, 2);
    expect(told).toEqual(["1 a", "2 a"]);
    a.isActive = false;
    b.isActive = true;
    workforce.reassign();
    expect(told.slice(2)).toEqual(["1 b", "2 b"]);
    expect(a.happened).toEqual(["join 1", "join 2", "leave 1", "leave 2"]);
    expect(b.happened).toEqual(["join 1", "join 2"]);
  });

  it("moves nobody out of an epoch, but everyone once it is over", () => {
    const [a, b] = runs;
    if (a === undefined || b === undefined) return expect.fail("there are two runs");
    b.isActive = false;
    join(1, 2, 3, 4);
    for (const number of [1, 2, 3, 4]) a.busy.add(fakeMiner(number));
    b.isActive = true;
    workforce.reassign();
    expect(membersOf(a)).toHaveLength(4);
    a.busy.clear();
    workforce.reassign();
    expect(membersOf(a)).toHaveLength(2);
    expect(membersOf(b)).toHaveLength(2);
  });

  it("sends a miner back to the run whose state it still holds", () => {
    const [a, b] = runs;
    join(1, 2);
    const held = [{ runId: runIdSchema.parse("b"), epoch: 3, attempt: 0, stage: 1 }];
    workforce.join(fakeMiner(3), "miner 3", { type: "join", device, held });
    expect(membersOf(a)).toEqual([1, 2]);
    expect(membersOf(b)).toEqual([3]);
  });

  it("tells a run that keeps a lost miner's place when that miner came back to another one", () => {
    const [a, b] = runs;
    if (a === undefined || b === undefined) return expect.fail("there are two runs");
    b.isActive = false;
    join(1);
    workforce.lose(fakeMiner(1));
    [a.isActive, b.isActive] = [false, true];
    join(1);
    expect(a.happened).toEqual(["join 1", "lost 1", "leave 1"]);
    expect(b.happened).toEqual(["join 1"]);
  });

  it("passes a repeated wish for work on to the run that the miner works for", () => {
    join(1, 1);
    expect(told).toHaveLength(1);
    expect(runs.flatMap(({ happened }) => happened)).toEqual(["join 1", "join 1"]);
  });

  it("leaves who is there where they are while all runs rest", () => {
    join(1, 2);
    for (const run of runs) run.isActive = false;
    workforce.reassign();
    join(3);
    expect(told.filter((line) => line.endsWith("none"))).toEqual([]);
    expect(told).toHaveLength(3);
  });

  it("gives a leaving miner's run nothing more to do with it", () => {
    join(1);
    workforce.leave(fakeMiner(1), { type: "leave", reason: "" });
    expect(runs.flatMap(({ happened }) => happened)).toEqual(["join 1", "leave 1"]);
    expect(workforce.runOf(fakeMiner(1))).toBeNull();
  });

  it("tells a run what a miner said of its connection, and the next run as well", () => {
    const link = { type: "link", upBytesPerSecond: 1, downBytesPerSecond: 2, roundTripMs: null } as const;
    workforce.measured(fakeMiner(1), link);
    join(1);
    workforce.measured(fakeMiner(1), link);
    const [first, second] = runs;
    expect(first?.happened).toEqual(["join 1", "link 1"]);
    if (first !== undefined) first.isActive = false;
    workforce.reassign();
    expect(second?.happened).toEqual(["join 1", "link 1"]);
  });
});
