import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { countReplicas, placeNewcomer, rebalance } from "./place.ts";

const member = (stage: number, unreliable = false) => ({ stage, unreliable });

describe("placement", () => {
  it("fills the emptiest stage first, in the model's order", () => {
    const places: { stage: number }[] = [];
    for (let arrival = 0; arrival < 6; arrival++) places.push({ stage: placeNewcomer(3, places, undefined) });
    expect(places.map(({ stage }) => stage)).toEqual([0, 1, 2, 0, 1, 2]);
  });

  it("gives a returning miner its former stage unless another needs it more", () => {
    expect(placeNewcomer(3, [{ stage: 0 }], 2)).toBe(2);
    expect(placeNewcomer(3, [{ stage: 0 }, { stage: 2 }], 2)).toBe(1);
  });

  it("moves the latest arrival of the fullest stage to an empty one", () => {
    const moved = rebalance(3, [member(0), member(0), member(2)]);
    expect(moved).toEqual([member(0), member(1), member(2)]);
  });

  it("does not move anybody to even out a difference of one", () => {
    const members = [member(0), member(0), member(1)];
    expect(rebalance(2, members)).toEqual(members);
  });

  it("does not leave a stage to a miner that failed", () => {
    expect(rebalance(2, [member(0), member(0), member(1, true)])).toEqual([member(0), member(1), member(1, true)]);
  });

  it("ends balanced with as few moves as that takes", () => {
    const stages = 4;
    fc.assert(
      fc.property(fc.array(fc.nat({ max: stages - 1 }).map((stage) => member(stage))), (members) => {
        const balanced = rebalance(stages, members);
        const counts = countReplicas(stages, balanced);
        expect(Math.max(...counts) - Math.min(...counts)).toBeLessThan(2);
        const moves = balanced.filter((one, index) => one.stage !== members[index]?.stage).length;
        const larger = Math.ceil(members.length / stages);
        const before = countReplicas(stages, members);
        const surplus = before.reduce((sum, count) => sum + Math.max(0, count - larger), 0);
        const lack = before.reduce((sum, count) => sum + Math.max(0, Math.floor(members.length / stages) - count), 0);
        expect(moves).toBe(Math.max(surplus, lack));
      }),
    );
  });
});
