import { describe, expect, it } from "vitest";
import { FakeSwarm } from "./fake-swarm.ts";
import { noiseOf } from "./noise.ts";

describe("the noise of a gradient's rounding", () => {
  it("is the same again, and another one for every run, epoch, attempt, stage, step and microbatch", async () => {
    const place = await new FakeSwarm(2, 1).place(0);
    const { at, stage, training } = place;
    const seeds = [
      noiseOf(place, 0, 0),
      noiseOf(place, 1, 0),
      noiseOf(place, 0, 1),
      noiseOf({ ...place, at: { ...at, epoch: at.epoch + 1 } }, 0, 0),
      noiseOf({ ...place, at: { ...at, attempt: at.attempt + 1 } }, 0, 0),
      noiseOf({ ...place, stage: { ...stage, index: 1 } }, 0, 0),
      noiseOf({ ...place, training: { ...training, seed: training.seed + 1 } }, 0, 0),
    ];
    expect(new Set(seeds).size).toBe(seeds.length);
    for (const seed of seeds) expect(seed).toBe(seed >>> 0);
    expect(noiseOf(place, 0, 0)).toBe(seeds[0]);
  });
});
