import { describe, expect, it } from "vitest";
import { FailureError } from "../../protocol/failure.ts";
import { noCompression, type VectorCodec } from "../../protocol/run-config.ts";
import type { Place } from "../flow/place.ts";
import { FakeClock } from "../session/fake-clock.ts";
import { ErrorFeedbackKeeper, type ResidualStore } from "./error-feedback-keeper.ts";
import { FakeResidualStore } from "./fake-residual-store.ts";
import { fakePlace } from "./fake-swarm.ts";
import { FakeVectorEngine } from "./fake-vector-engine.ts";

const parameters = 1000;
const minuteMs = 60_000;

function placeIn(codec: VectorCodec): Place {
  const { training } = fakePlace;
  return { ...fakePlace, training: { ...training, compression: { ...noCompression, merge: codec } } };
}

const place = placeIn({ kind: "dense", bits: 2 });

function workerFor({ training }: Place) {
  const values = new Float32Array(parameters).map((_, index) => Math.sin(index));
  return { engine: new FakeVectorEngine({ values, tokens: 1 }, training), parameters };
}

/** A worker that has something to carry on. */
async function busyWorker(at = place) {
  const worker = workerFor(at);
  await worker.engine.call("contribution", { partitions: [{ from: 0, length: parameters }] });
  return worker;
}

function keeperOf(residuals: ResidualStore = new FakeResidualStore()) {
  const clock = new FakeClock();
  const log: string[] = [];
  return { clock, log, keeper: new ErrorFeedbackKeeper({ residuals, clock, log: (_, text) => log.push(text) }) };
}

describe("error feedback", () => {
  it("goes from the worker that ends to the one that takes its place", async () => {
    const residuals = new FakeResidualStore();
    const { keeper } = keeperOf(residuals);
    const worker = await busyWorker();
    keeper.merged(place, worker);
    await keeper.save();
    const heir = workerFor(place);
    await keeperOf(residuals).keeper.restore(place, heir);
    expect(await heir.engine.call("residual")).not.toBeNull();
    expect([...residuals.stored.values()].map(({ epoch }) => epoch)).toEqual([place.at.epoch]);
  });

  it("is written down after a merge at most every five minutes, and at the end if there was another merge", async () => {
    const residuals = new FakeResidualStore();
    const { keeper, clock } = keeperOf(residuals);
    const worker = await busyWorker();
    keeper.merged(place, worker);
    expect(residuals.stored.size).toBe(0);
    clock.advance(5 * minuteMs);
    keeper.merged(place, worker);
    await keeper.save();
    expect(residuals.stored.size).toBe(1);
    expect(keeper.save()).toBeNull();
    keeper.merged({ ...place, at: { ...place.at, epoch: 9 } }, worker);
    await keeper.save();
    expect([...residuals.stored.values()].map(({ epoch }) => epoch)).toEqual([9]);
  });

  it("is nobody's business where nothing is rounded", async () => {
    const exact = placeIn({ kind: "f32" });
    const { keeper, clock } = keeperOf();
    clock.advance(10 * minuteMs);
    keeper.merged(exact, workerFor(exact));
    expect(keeper.save()).toBeNull();
  });

  it("that is damaged begins anew, and the log says so", async () => {
    const stores: readonly ResidualStore[] = [
      { read: async () => "damaged", write: async () => undefined },
      { read: async () => new Uint8Array(7), write: async () => undefined },
      { read: () => Promise.reject(new FailureError("file-unreadable", "No right.")), write: async () => undefined },
    ];
    for (const store of stores) {
      const { keeper, log } = keeperOf(store);
      const worker = workerFor(place);
      await keeper.restore(place, worker);
      expect(await worker.engine.call("residual")).toBeNull();
      expect(log).toEqual([expect.stringMatching(/^The error feedback of stage 2 .*anew/)]);
    }
  });

  it("holds up nobody: neither a full disk, nor a worker that crashed or does not answer", async () => {
    const crash = new FailureError("compute-crashed", "It crashed.");
    const full = new FailureError("disk-full", "It is full.");
    const worker = await busyWorker();
    const onFullDisk = keeperOf({ read: async () => "none", write: () => Promise.reject(full) });
    onFullDisk.keeper.merged(place, worker);
    await onFullDisk.keeper.save();
    expect(onFullDisk.log).toEqual([expect.stringContaining("It is full.")]);
    const afterCrash = keeperOf();
    afterCrash.keeper.merged(place, { parameters, engine: { call: () => Promise.reject(crash) } });
    await afterCrash.keeper.save();
    expect(afterCrash.log).toEqual([expect.stringContaining("It crashed.")]);
    const whileBusy = keeperOf();
    whileBusy.keeper.merged(place, { parameters, engine: { call: () => new Promise<never>(() => {}) } });
    const saving = whileBusy.keeper.save();
    await Promise.resolve();
    whileBusy.clock.advance(10_000);
    await saving;
  });
});
