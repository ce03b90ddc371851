import { describe, expect, it } from "vitest";
import { type MinerId, minerIdSchema } from "../../protocol/ids.ts";
import type { Place } from "../flow/place.ts";
import { fakePlace } from "../merge/fake-swarm.ts";
import { mostTokensOf, withCountedTokens } from "./step-tokens.ts";

const [first, second, third] = ["a", "b", "c"].map((digit) => minerIdSchema.parse(digit.repeat(64))) as [
  MinerId,
  MinerId,
  MinerId,
];
const tokensPerMicrobatch = 16;
/** Two sources, the first of which sends five microbatches of a step's six. */
const routes = {
  sources: [first, second],
  shareOf: (miner: MinerId | undefined) =>
    miner === first ? { first: 0, count: 5 } : miner === second ? { first: 5, count: 1 } : undefined,
  weightOf: (miner: MinerId) => (miner === first ? 1000 : 500),
};

function placeIn(stage: number, training: Partial<Place["training"]> = {}): Place {
  const fromLayer = stage;
  return {
    ...fakePlace,
    stage: { index: stage, count: 3, fromLayer, toLayer: fromLayer + 1 },
    at: { ...fakePlace.at, stage },
    training: { ...fakePlace.training, ...training },
  };
}

describe("the most tokens that a replica can have stepped on", () => {
  it("are a source's share of the step, and nothing for who is no source", () => {
    const most = [first, second, third].map((miner) => mostTokensOf({ place: placeIn(0), routes }, miner));
    expect(most).toEqual([5 * tokensPerMicrobatch, tokensPerMicrobatch, 0]);
  });

  it("are all that the sources send in the other stages, and in as many steps as may overtake each other", () => {
    expect(mostTokensOf({ place: placeIn(1), routes }, third)).toBe(6 * tokensPerMicrobatch);
    expect(mostTokensOf({ place: placeIn(1, { maximumStaleness: 2 }), routes }, third)).toBe(18 * tokensPerMicrobatch);
  });
});

describe("what replicas say that they stepped on", () => {
  const counted = (...tokens: readonly number[]) =>
    withCountedTokens(
      [first, second].map((miner, index) => ({ miner, tokens: tokens[index] ?? 0 })),
      { place: placeIn(1), routes },
    ).map((one) => one.tokens);

  it("counts as it is where together it is what the step has", () => {
    expect(counted(16, 80)).toEqual([16, 80]);
  });

  it("is cut down to each one's share where it is more, so that nobody outweighs another by claiming the whole step", () => {
    expect(counted(60, 96)).toEqual([60, 36]);
    expect(counted(96, 96)).toEqual([64, 32]);
  });

  it("stays in the average even where nothing is left of it, since a replica takes its own movement out by it", () => {
    const slow = { ...routes, weightOf: (miner: MinerId) => (miner === first ? 1_000_000 : 1) };
    const claims = [
      { miner: first, tokens: 1_000_000 },
      { miner: second, tokens: 16 },
      { miner: third, tokens: 16 },
    ];
    expect(withCountedTokens(claims, { place: placeIn(1), routes: slow })).toEqual([
      { miner: first, tokens: 95 },
      { miner: second, tokens: 0 },
      { miner: third, tokens: 1 },
    ]);
  });
});
