import { describe, expect, it } from "vitest";
import { FailureError } from "../../protocol/failure.ts";
import { hashBytes } from "../../protocol/identity.ts";
import { mergeCodecs, noCompression, type TrainingConfig } from "../../protocol/run-config.ts";
import { fakePlace } from "../merge/fake-swarm.ts";
import { FakeClock } from "../session/fake-clock.ts";
import { FakeBlobs } from "./fake-blobs.ts";
import { keepStart } from "./kept-start.ts";

const compressed = { ...noCompression, merge: mergeCodecs.dense2 };

/** A worker that holds an epoch's start, and answers with it when `answer` resolves. */
function world(
  changes: Partial<TrainingConfig> = {},
  answer: Promise<Float32Array> = Promise.resolve(Float32Array.of(1, 2)),
) {
  const [blobs, clock, log] = [new FakeBlobs(), new FakeClock(), [] as string[]];
  const training = { ...fakePlace.training, outerMomentum: 0, compression: compressed, ...changes };
  const held = {
    engine: { call: () => answer as Promise<never> },
    openedFor: { ...fakePlace, training },
    parameters: 2,
    memoryBytes: 0,
    epoch: null,
    weightsHash: hashBytes(new Uint8Array(8)),
  };
  const keeping = keepStart(held, { blobs, clock, log: (_, text) => log.push(text) });
  return { blobs, clock, log, keeping };
}

describe("an epoch's start that is kept when a miner leaves", () => {
  it("lies on the disk once the worker is no longer needed", async () => {
    const { blobs, keeping } = world();
    await keeping;
    expect([...blobs.kept.values()].map(({ length }) => length)).toEqual([8]);
  });

  it.each([
    { where: "in sync mode", changes: { mode: "sync" as const } },
    { where: "with an outer momentum", changes: { outerMomentum: 0.6 } },
    { where: "where merges are as long as the weights", changes: { compression: noCompression } },
  ])("is of no use $where", ({ changes }) => {
    expect(world(changes).keeping).toBeNull();
  });

  it("is done without when the worker is busy for long, or has crashed", async () => {
    const busy = world({}, new Promise(() => undefined));
    busy.clock.advance(10_000);
    await busy.keeping;
    const crashed = world({}, Promise.reject(new FailureError("compute-crashed", "It crashed.")));
    await crashed.keeping;
    expect([busy.blobs.kept.size, crashed.blobs.kept.size]).toEqual([0, 0]);
    expect(crashed.log).toEqual([expect.stringContaining("It crashed.")]);
  });
});
