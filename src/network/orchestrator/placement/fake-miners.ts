/** Small swarms for tests. */
import fc from "fast-check";
import { type MinerId, minerIdSchema } from "../../../protocol/ids.ts";
import type { MinerResources, PlacementRequest, StageNeed } from "./placement.ts";

export function fakeMinerId(index: number): MinerId {
  return minerIdSchema.parse(index.toString(16).padStart(64, "0"));
}

/** Holds one stage of `fakeStages`, and computes 100 tokens per second through it. */
export function fakeMiner(index: number, changed: Partial<MinerResources> = {}): MinerResources {
  const usual = {
    memoryBytes: 10,
    maximumStages: 8,
    blockTokensPerSecond: 100,
    linkBytesPerSecond: null,
    reliable: true,
  };
  return { minerId: fakeMinerId(index), ...usual, ...changed };
}

export function fakeStages(count: number, changed: Partial<StageNeed> = {}): readonly StageNeed[] {
  return Array.from({ length: count }, () => ({ memoryBytes: 10, work: 1, bytesPerToken: 1, ...changed }));
}

/** Any few stages and miners: of some, memory is too little for anything; some are slow, or on a slow link, or not reliable. */
export function anySwarm(limits: { readonly stages: number; readonly miners: number }): fc.Arbitrary<PlacementRequest> {
  const stage = fc.record({
    memoryBytes: fc.integer({ min: 1, max: 10 }),
    work: fc.integer({ min: 1, max: 8 }),
    bytesPerToken: fc.integer({ min: 0, max: 2 }),
  });
  const resources = fc.record({
    memoryBytes: fc.integer({ min: 1, max: 24 }),
    maximumStages: fc.constant(8),
    // Fractions, so that sums of them are rounded.
    blockTokensPerSecond: fc.integer({ min: 1, max: 100 }).map((rate) => rate / 7),
    linkBytesPerSecond: fc.option(fc.integer({ min: 1, max: 100 }), { freq: 4 }),
    reliable: fc.boolean().chain((likely) => (likely ? fc.constant(true) : fc.boolean())),
  });
  return fc.record({
    stages: fc.array(stage, { minLength: 1, maxLength: limits.stages, size: "max" }),
    miners: fc
      .array(resources, { minLength: 1, maxLength: limits.miners, size: "max" })
      .map((all) => all.map((one, index) => ({ minerId: fakeMinerId(index), ...one }))),
    current: fc.constant([]),
  });
}
