import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { countedTokens } from "./counted-tokens.ts";

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
