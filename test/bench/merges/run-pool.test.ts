import { setImmediate } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { RunPool } from "./run-pool.ts";

interface Task {
  readonly name: string;
  readonly effort: number;
}

/** Tasks end when they are told to; a unit of effort takes a second. */
class FakeWork {
  readonly started: string[] = [];
  nowMs = 0;
  readonly #ends = new Map<string, () => void>();

  readonly run = async ({ name, effort }: Task): Promise<string> => {
    this.started.push(name);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#ends.set(name, resolve);
    await promise;
    this.nowMs += 1000 * effort;
    return `${name} is done`;
  };

  async end(name: string): Promise<void> {
    this.#ends.get(name)?.();
    await settled();
  }
}

/** All that follows from what has happened, has. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await setImmediate();
}

function poolOf(work: FakeWork, limits: { readonly jobs: number; readonly deadlineMs?: number }) {
  const { jobs, deadlineMs = Number.POSITIVE_INFINITY } = limits;
  return new RunPool<Task, string>({
    ...{ jobs, deadlineMs },
    run: work.run,
    nowMs: () => work.nowMs,
    effortOf: ({ effort }) => effort,
  });
}

describe("a pool of runs", () => {
  it("starts no more at once than it may, and the most urgent first", async () => {
    const work = new FakeWork();
    const pool = poolOf(work, { jobs: 2 });
    for (const [rank, name] of ["third", "first", "second"].entries())
      void pool.submit({ name, effort: 1 }, [3, 1, 2][rank] ?? 0);
    await settled();
    expect(work.started).toEqual(["first", "second"]);
    await work.end("second");
    expect(work.started).toEqual(["first", "second", "third"]);
  });

  it("lets what follows from a result go before what waits and is less urgent", async () => {
    const work = new FakeWork();
    const pool = poolOf(work, { jobs: 1 });
    const followed = pool
      .submit({ name: "first", effort: 1 }, 1)
      .then(() => pool.submit({ name: "next", effort: 1 }, 1));
    void pool.submit({ name: "later", effort: 1 }, 2);
    await settled();
    await work.end("first");
    expect(work.started).toEqual(["first", "next"]);
    await work.end("next");
    expect(await followed).toBe("next is done");
  });

  it("gives up what would not end in time, going by the slowest so far, and starts what does", async () => {
    const work = new FakeWork();
    const pool = poolOf(work, { jobs: 1, deadlineMs: 10_000 });
    void pool.submit({ name: "measured", effort: 5 }, 1);
    const long = pool.submit({ name: "long", effort: 5 }, 2);
    const short = pool.submit({ name: "short", effort: 3 }, 3);
    await settled();
    await work.end("measured");
    expect(await long).toBeNull();
    await work.end("short");
    expect(await short).toBe("short is done");
  });

  it("goes on after a run that failed, whose error is its submitter's", async () => {
    const pool = new RunPool<string, string>({
      ...{ jobs: 1, deadlineMs: Number.POSITIVE_INFINITY },
      nowMs: () => 0,
      effortOf: () => 1,
      run: async (name) => {
        if (name === "bad") throw new Error("it broke");
        return name;
      },
    });
    const [bad, good] = [pool.submit("bad", 1), pool.submit("good", 2)];
    await expect(bad).rejects.toThrow("it broke");
    expect(await good).toBe("good");
  });
});
