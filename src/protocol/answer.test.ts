import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { answeredKinds, decodeAnswer, encodeAnswer, verdicts } from "./answer.ts";
import { FailureError } from "./failure.ts";

const seed = 20_261_126;
const answers = fc.record({
  epoch: fc.nat(0xffffffff),
  attempt: fc.nat(0xffffffff),
  step: fc.nat(0xffffffff),
  microbatch: fc.nat(0xffffffff),
  stage: fc.nat(0xffff),
  about: fc.constantFrom(...answeredKinds),
  verdict: fc.constantFrom(...verdicts),
});

describe("an answer", () => {
  test("comes back from its bytes as it was", () => {
    fc.assert(
      fc.property(answers, (answer) => {
        expect(decodeAnswer(encodeAnswer(answer))).toEqual(answer);
      }),
      { seed },
    );
  });

  test("is read from a view into a larger buffer", () => {
    const [answer] = fc.sample(answers, { seed, numRuns: 1 });
    if (answer === undefined) throw new Error("an answer");
    const bytes = Buffer.concat([Buffer.alloc(3), encodeAnswer(answer), Buffer.alloc(3)]);
    expect(decodeAnswer(bytes.subarray(3, -3))).toEqual(answer);
  });

  test("of hostile bytes is refused with a typed failure, or is one", () => {
    const hostile = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc.uint8Array({ minLength: 20, maxLength: 20 }),
      fc.tuple(answers, fc.nat(19)).map(([answer, length]) => encodeAnswer(answer).subarray(0, length)),
    );
    let refused = 0;
    fc.assert(
      fc.property(hostile, (bytes) => {
        try {
          expect(verdicts).toContain(decodeAnswer(bytes).verdict);
        } catch (error) {
          expect(error).toBeInstanceOf(FailureError);
          refused++;
        }
      }),
      { seed, numRuns: 5000 },
    );
    expect(refused).toBeGreaterThan(3000);
  });
});
