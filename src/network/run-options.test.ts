import { describe, expect, it } from "vitest";
import { failureOf } from "../protocol/failure.ts";
import { trainingOf } from "./run-options.ts";

const asked = { preset: "tiny", replicas: 2 } as const;

describe("a run's training", () => {
  it("is the preset's but for what was asked for", () => {
    const training = trainingOf({ ...asked, stepsPerEpoch: 12, maxStaleness: 2, optimizer: "nadam", seed: 7 });
    expect(training).toEqual({
      ...trainingOf(asked),
      ...{ stepsPerEpoch: 12, maximumStaleness: 2, optimizer: "nadam", seed: 7 },
    });
  });

  it("exchanges every step where that is asked for, and is refused what makes no sense", () => {
    expect(trainingOf({ ...asked, exchange: "dense2", exchangeLag: 1 }).compression.exchange).toEqual({
      codec: { kind: "dense", bits: 2 },
      lag: 1,
    });
    expect(trainingOf({ ...asked, exchange: "f32" }).compression.exchange).toEqual({ codec: { kind: "f32" }, lag: 0 });
    expect(trainingOf({ ...asked, exchange: "off" }).compression.exchange).toBeNull();
    for (const nonsense of [{ mode: "sync", exchange: "dense2" }, { exchangeLag: 1 }] as const)
      expect(() => trainingOf({ ...asked, ...nonsense })).toThrow(
        expect.toSatisfy((error) => failureOf(error)?.code === "invalid-option"),
      );
  });

  it("takes one step per epoch in sync mode, and is refused where more are asked for", () => {
    expect(trainingOf({ ...asked, mode: "sync" })).toMatchObject({ stepsPerEpoch: 1, maximumStaleness: 0 });
    for (const more of [{ stepsPerEpoch: 2 }, { maxStaleness: 1 }])
      expect(() => trainingOf({ ...asked, mode: "sync", ...more })).toThrow(
        expect.toSatisfy((error) => failureOf(error)?.code === "invalid-option"),
      );
  });
});
