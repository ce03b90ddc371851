import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeExchange, encodeExchange, exchangeParts, exchangeTypes } from "./exchange-messages.ts";
import { FailureError } from "./failure.ts";

const seed = 20_261_126;

const header = {
  epoch: fc.nat(0xffffffff),
  attempt: fc.nat(1000),
  step: fc.nat(100_000),
  stage: fc.nat(0xffff),
};
const signature = fc.uint8Array({ minLength: 64, maxLength: 64 }).map((bytes) => Buffer.from(bytes).toString("hex"));
const nothing = fc.record({
  ...header,
  type: fc.constant("moved" as const),
  ...{ tokens: fc.constant(0), part: fc.constant(0), parts: fc.constant(0), payload: fc.constant(new Uint8Array(0)) },
  signature,
});
const moved = fc.record({
  ...header,
  type: fc.constant("moved" as const),
  ...{
    tokens: fc.integer({ min: 1, max: 0xffffffff }),
    part: fc.nat(99),
    parts: fc.integer({ min: 100, max: 0xffff }),
  },
  signature,
  payload: fc.uint8Array({ minLength: 1, maxLength: 50 }),
});
const messages = fc.oneof(
  nothing,
  moved,
  fc.record({ ...header, type: fc.constant("ask" as const), part: fc.nat(0xffff) }),
  fc.record({ ...header, type: fc.constantFrom("pending" as const, "gone" as const) }),
);

describe("an exchange message", () => {
  it("comes back from its bytes as it was", () => {
    fc.assert(
      fc.property(messages, (message) => {
        expect(decodeExchange(Uint8Array.from(encodeExchange(message)))).toEqual(message);
      }),
      { seed },
    );
  });

  it("of hostile bytes is refused with a typed failure, or is one", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(exchangeTypes.length), (bytes, type) => {
        if (bytes.length > 19) bytes.set([type, 0], 18);
        try {
          const message = decodeExchange(bytes);
          expect(encodeExchange(message)).toEqual(Buffer.from(bytes));
        } catch (error) {
          expect(error).toBeInstanceOf(FailureError);
        }
      }),
      { seed, numRuns: 2000 },
    );
  });
});

describe("the parts of a movement", () => {
  it.each([1, 1 << 20, (1 << 20) + 1, 5_000_000])("cover all of %i parameters once, in order", (parameters) => {
    let end = 0;
    for (const { from, length } of exchangeParts(parameters)) {
      expect(from).toBe(end);
      expect(length).toBeGreaterThan(0);
      end += length;
    }
    expect(end).toBe(parameters);
  });
});
