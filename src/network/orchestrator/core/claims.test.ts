import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { countedTokens } from "./claims.ts";
import { tokensPerSource } from "./definition.ts";
import { FakeSwarm, fakeDefinition, fakeMiner } from "./fake-swarm.ts";

const seed = 20_261_126;
const claim = fc.record({ tokens: fc.nat({ max: 100_000 }), weight: fc.integer({ min: 1, max: 1000 }) });
const claims = fc.array(claim, { minLength: 1, maxLength: 12 });
const handedOut = fc.nat({ max: 200_000 });
const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

describe("the tokens that count", () => {
  it("are what was claimed where that is no more than was handed out", () => {
    fc.assert(
      fc.property(claims, (given) => {
        const tokens = given.map((one) => one.tokens);
        expect(countedTokens(given, sum(tokens))).toEqual(tokens);
      }),
      { seed },
    );
  });

  it("are no more than were claimed, nor together than were handed out, and fewer only in rounding where enough is claimed", () => {
    fc.assert(
      fc.property(claims, handedOut, (given, most) => {
        const counted = countedTokens(given, most);
        for (const [index, tokens] of counted.entries()) expect(tokens).toBeLessThanOrEqual(given[index]?.tokens ?? 0);
        const demanded = sum(given.map(({ tokens }) => tokens));
        expect(sum(counted)).toBeLessThanOrEqual(most);
        expect(sum(counted)).toBeGreaterThan(Math.min(most, demanded) - given.length);
      }),
      { seed },
    );
  });

  it("of who did no more than its share do not depend on what others claim", () => {
    fc.assert(
      fc.property(claims, handedOut, (given, most) => {
        const weight = sum(given.map((one) => one.weight));
        const counted = countedTokens(given, most);
        for (const [index, one] of given.entries())
          if (one.tokens <= Math.floor((most * one.weight) / weight)) expect(counted[index]).toBe(one.tokens);
      }),
      { seed },
    );
  });
});

describe("a claim", () => {
  const definition = fakeDefinition({ stages: 2 });
  const share = tokensPerSource(definition);
  /** Two replicas of each stage, whose contributions are asked for. */
  function uploading() {
    const swarm = new FakeSwarm(definition);
    swarm.join(1, 2, 3, 4);
    swarm.reach("uploading");
    const ofStage = (stage: number) =>
      swarm.state.replicas[stage]?.map(({ minerId }) => Number.parseInt(minerId, 16)) ?? [];
    const claiming = (index: number, tokens: number) =>
      swarm.say(fakeMiner(index), { ...swarm.report(index, "contributed"), tokens });
    const earned = (index: number) => swarm.state.uncredited.find((one) => one.minerId === fakeMiner(index))?.tokens;
    return { swarm, sources: ofStage(0), others: ofStage(1), claiming, earned };
  }

  it("of a source to more than its share of the microbatches is refused, and counted", () => {
    const { swarm, sources, claiming, earned } = uploading();
    const [liar = 0, honest = 0] = sources;
    claiming(liar, share + 1);
    expect(swarm.state.replicas[0]).toMatchObject([{ part: "out", contribution: null }, { part: "live" }]);
    expect(swarm.state.members.find(({ minerId }) => minerId === fakeMiner(liar))).toMatchObject({
      refusedClaims: 1,
      unreliable: true,
    });
    expect(swarm.state.log.at(-1)?.text).toContain(`it claims ${share + 1} tokens of ${share} (1 such claims so far)`);
    swarm.finishEpoch();
    expect([earned(liar), earned(honest)]).toEqual([undefined, share]);
    expect(swarm.state.tokens).toBe(share);
  });

  it("of one of two replicas to all that passed through their stage takes nothing from the other, and counts as its share", () => {
    const { swarm, others, claiming, earned } = uploading();
    const [liar = 0, honest = 0] = others;
    claiming(liar, 2 * share);
    swarm.reach("merging");
    expect(swarm.sent("reduce").at(-1)?.message.contributions.map(({ tokens }) => tokens)).toEqual([share, share]);
    swarm.finishEpoch();
    expect([earned(liar), earned(honest)]).toEqual([share, share]);
  });
});
