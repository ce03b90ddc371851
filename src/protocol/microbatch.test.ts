import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FailureError } from "./failure.ts";
import { createIdentity } from "./identity.ts";
import { decodeMicrobatch, encodeMicrobatch } from "./microbatch.ts";

const seed = 20_261_123;
const miners = [createIdentity().minerId, createIdentity().minerId, createIdentity().minerId];

const hexOf = (length: number) =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((bytes) => Buffer.from(bytes).toString("hex"));
const origins = fc.record({ sender: fc.constantFrom(...miners), content: hexOf(32), signature: hexOf(64) });

const messages = fc
  .record({
    epoch: fc.nat(0xffffffff),
    attempt: fc.nat(1000),
    step: fc.nat(1000),
    microbatch: fc.nat(100_000),
    sequences: fc.nat(64),
    stage: fc.nat(0xffff),
    path: fc.subarray(miners, { minLength: 1 }),
    rows: fc.nat(9),
    columns: fc.nat(9),
  })
  .chain((shape) =>
    fc
      .tuple(
        hexOf(64),
        origins,
        fc.uint8Array(shape.rows * shape.columns === 0 ? { maxLength: 0 } : { minLength: 1, maxLength: 400 }),
      )
      .map(([signature, origin, payload]) => ({
        ...shape,
        // A flush marker is not signed; what a source begins has no origin.
        signature: payload.length === 0 ? "" : signature,
        origin: payload.length === 0 || shape.path.length === 1 ? null : origin,
        payload,
      })),
  );

describe("a microbatch message", () => {
  test("comes back from its bytes as it was, whatever its payload", () => {
    fc.assert(
      fc.property(messages, (message) => {
        const decoded = decodeMicrobatch(encodeMicrobatch(message));
        expect({ ...decoded, payload: new Uint8Array(decoded.payload) }).toEqual(message);
      }),
      { seed },
    );
  });

  test("is not copied when it is read: its payload is a view of the bytes that came", () => {
    const message = {
      epoch: 1,
      attempt: 0,
      step: 0,
      microbatch: 3,
      sequences: 1,
      stage: 1,
      path: miners,
      rows: 1,
      columns: 2,
      signature: "12".repeat(64),
      origin: { sender: createIdentity().minerId, content: "34".repeat(32), signature: "56".repeat(64) },
      payload: Uint8Array.of(1, 2),
    };
    const bytes = encodeMicrobatch(message);
    const decoded = decodeMicrobatch(bytes);
    expect([...decoded.payload]).toEqual([1, 2]);
    expect(decoded.payload.buffer).toBe(bytes.buffer);
  });

  test("is refused with a typed failure when cut short, lengthened or garbled", () => {
    const hostile = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.tuple(messages, fc.nat(700)).map(([message, length]) => encodeMicrobatch(message).subarray(0, length)),
      fc.tuple(messages, fc.nat(28), fc.nat(255)).map(([message, position, value]) => {
        const bytes = encodeMicrobatch(message);
        bytes[position] = value;
        return bytes;
      }),
    );
    let refused = 0;
    fc.assert(
      fc.property(hostile, (bytes) => {
        try {
          const message = decodeMicrobatch(bytes);
          expect(message.payload.length > 0).toBe(message.rows * message.columns > 0);
        } catch (error) {
          expect(error).toBeInstanceOf(FailureError);
          refused++;
        }
      }),
      { seed, numRuns: 20_000 },
    );
    expect(refused).toBeGreaterThan(1000);
  });
});
