import fc from "fast-check";
import { Packr } from "msgpackr";
import { describe, expect, test } from "vitest";
import { FailureError } from "./failure.ts";
import { hashBytes } from "./identity.ts";
import { runIdSchema } from "./ids.ts";
import { blobPartSchema, blobRequestSchema, decodeBody, encodeBody, mergeMessageSchema } from "./merge-messages.ts";

const seed = 20_261_126;
const at = { runId: runIdSchema.parse("demo"), epoch: 3, attempt: 0, stage: 1 };
const hash = hashBytes(Buffer.from("a slice"));
const part = { hash, offset: 4, totalBytes: 9, bytes: Uint8Array.of(1, 2, 3) };

const bodies = [
  ["an offer", mergeMessageSchema, { type: "offer", at, tokens: 640, slices: [hash, hash] }],
  ["a kept", mergeMessageSchema, { type: "kept", at, manifest: hash }],
  ["a request", blobRequestSchema, { hash, offset: 0, length: 1 << 19 }],
  ["a part", blobPartSchema, part],
  ["a part that is not there", blobPartSchema, { ...part, bytes: null }],
] as const;

describe("what replicas say to each other", () => {
  test.each(bodies)("comes back as it was: %s", (_, schema, message) => {
    const decoded = decodeBody<object>(schema, encodeBody(message));
    const bytes = "bytes" in decoded && decoded.bytes instanceof Uint8Array ? Uint8Array.from(decoded.bytes) : null;
    expect(bytes === null ? decoded : { ...decoded, bytes }).toEqual(message);
  });

  test("adds little to the bytes of a part", () => {
    expect(encodeBody({ ...part, bytes: new Uint8Array(1000) }).length).toBeLessThan(1150);
  });

  test("is refused with a field too many, a number out of range or a hash that is none", () => {
    const pack = (value: unknown) => new Packr({ useRecords: false }).pack(value);
    for (const value of [
      { hash, offset: 0, length: 0 },
      { hash, offset: -1, length: 1 },
      { hash, offset: 0.5, length: 1 },
      { hash: "../../etc/passwd", offset: 0, length: 1 },
      { hash, offset: 0, length: 1, more: 1 },
    ])
      expect(() => decodeBody(blobRequestSchema, pack(value))).toThrow(FailureError);
    const slices = Array.from({ length: (1 << 16) + 1 }, () => hash);
    expect(() => decodeBody(mergeMessageSchema, pack({ type: "offer", at, tokens: 1, slices }))).toThrow(FailureError);
    expect(() => decodeBody(blobPartSchema, pack({ ...part, bytes: [1, 2, 3] }))).toThrow(FailureError);
  });

  test("made of hostile bytes is refused with a typed failure, never by a crash", () => {
    const encoded = bodies.map(([, , message]) => Buffer.from(encodeBody(message)));
    const hostile = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.tuple(fc.constantFrom(...encoded), fc.nat(500), fc.nat(255)).map(([bytes, position, value]) => {
        const changed = Buffer.from(bytes);
        changed[position % changed.length] = value;
        return changed;
      }),
      fc.tuple(fc.constantFrom(...encoded), fc.nat(500)).map(([bytes, length]) => bytes.subarray(0, length)),
    );
    let refused = 0;
    fc.assert(
      fc.property(hostile, fc.constantFrom(mergeMessageSchema, blobRequestSchema, blobPartSchema), (bytes, schema) => {
        try {
          decodeBody<object>(schema, bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(FailureError);
          refused++;
        }
      }),
      { seed, numRuns: 10_000 },
    );
    expect(refused).toBeGreaterThan(5000);
  });
});
