import { describe, expect, it } from "vitest";
import { hashBytes } from "../../protocol/identity.ts";
import { type MinerId, minerIdSchema, runIdSchema } from "../../protocol/ids.ts";
import { exchangeGroup } from "./exchange-group.ts";

const place = { runId: runIdSchema.parse("run"), epoch: 3, attempt: 0, stage: 1 };
const miners = (count: number): MinerId[] =>
  Array.from({ length: count }, (_, index) => minerIdSchema.parse(hashBytes(Buffer.from(`${index}`))));

describe("an exchange group", () => {
  it.each([1, 2, 3, 4])("is everybody of %i", (count) => {
    const all = miners(count);
    for (const self of all)
      expect(exchangeGroup(place, 0, self, all)).toEqual(all.filter((miner) => miner !== self).toSorted());
  });

  it.each([5, 6, 7, 9, 16, 33])("of %i replicas has two to four, and all see the same ones", (count) => {
    const all = miners(count);
    for (let step = 0; step < 5; step++)
      for (const self of all) {
        const others = exchangeGroup(place, step, self, all.toReversed());
        expect(others.length).toBeGreaterThanOrEqual(1);
        expect(others.length).toBeLessThanOrEqual(3);
        for (const other of others) expect(exchangeGroup(place, step, other, all)).toContain(self);
      }
  });

  it("is another one at every step: before long a replica has met all others", () => {
    const all = miners(12);
    const [self] = all;
    if (self === undefined) throw new Error("a miner");
    const met = new Set(Array.from({ length: 30 }, (_, step) => exchangeGroup(place, step, self, all)).flat());
    expect(met.size).toBe(11);
  });
});
