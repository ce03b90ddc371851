import { describe, expect, it } from "vitest";
import { stageSet } from "./stage-set.ts";
import { throughputOf } from "./throughput.ts";

const [first, second, third] = [0, 1, 2].map((stage) => 1 << stage);

describe("throughput", () => {
  it("is that of the stage with the least rate for its work", () => {
    const { tokensPerSecond, bottleneck } = throughputOf([1, 2, 1], { single: [10, 12, 8], several: [] });
    expect(tokensPerSecond).toBe(6);
    expect(bottleneck).toBe(second);
  });

  it("lets a miner of several stages help where it is needed", () => {
    const several = [{ stages: stageSet([0, 1]), rate: 10 }];
    const { tokensPerSecond, bottleneck, allotted } = throughputOf([1, 1], { single: [8, 0], several });
    expect(tokensPerSecond).toBe(9);
    expect(bottleneck).toBe(stageSet([0, 1]));
    expect(allotted).toEqual([[1, 9]]);
  });

  it("hands work on from miner to miner", () => {
    // Only the last group has time to spare, and it does not hold the stage that lacks it.
    const several = [
      { stages: stageSet([0, 1]), rate: 10 },
      { stages: stageSet([1, 2]), rate: 20 },
    ];
    const { tokensPerSecond } = throughputOf([1, 1, 1], { single: [0, 0, 0], several });
    expect(tokensPerSecond).toBe(10);
  });

  it("names no stage as the bottleneck that could get more", () => {
    const several = [{ stages: stageSet([1, 2]), rate: 10 }];
    const { bottleneck } = throughputOf([1, 1, 1], { single: [4, 1, 1], several });
    expect(bottleneck).toBe(first);
  });

  it("ends when what is left of a stage's rate is less than nothing by rounding", () => {
    const { tokensPerSecond } = throughputOf([1, 1], { single: [5, -1e-13], several: [] });
    expect(tokensPerSecond).toBeCloseTo(0);
  });

  it("is nothing while a stage has no miner", () => {
    const { tokensPerSecond, bottleneck } = throughputOf([1, 1, 1], { single: [5, 5, 0], several: [] });
    expect(tokensPerSecond).toBe(0);
    expect(bottleneck).toBe(third);
  });
});
