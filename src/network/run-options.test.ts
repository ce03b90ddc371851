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

  it("takes one step per epoch in sync mode, and is refused where more are asked for", () => {
    expect(trainingOf({ ...asked, mode: "sync" })).toMatchObject({ stepsPerEpoch: 1, maximumStaleness: 0 });
    for (const more of [{ stepsPerEpoch: 2 }, { maxStaleness: 1 }])
      expect(() => trainingOf({ ...asked, mode: "sync", ...more })).toThrow(
        expect.toSatisfy((error) => failureOf(error)?.code === "invalid-option"),
      );
  });
});
