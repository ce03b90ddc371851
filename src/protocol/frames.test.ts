import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FailureError } from "./failure.ts";
import {
  decodeFrame,
  encodeFrame,
  frameHeaderBytes,
  isFrame,
  maxChunkBytes,
  messageKinds,
  readdressFrame,
} from "./frames.ts";
import { createIdentity } from "./identity.ts";

const seed = 20_261_123;
const peer = createIdentity().minerId;

const frames = fc
  .record({
    kind: fc.constantFrom(...messageKinds),
    messageNumber: fc.nat(0xffffffff),
    offset: fc.nat(1 << 24),
    chunk: fc.uint8Array({ minLength: 1, maxLength: 300 }),
    rest: fc.nat(1000),
  })
  .map(({ rest, ...frame }) => ({ ...frame, peer, totalBytes: frame.offset + frame.chunk.length + rest }));

describe("a frame", () => {
  test("comes back from its bytes as it was", () => {
    fc.assert(
      fc.property(frames, (frame) => {
        const decoded = decodeFrame(encodeFrame(frame));
        expect({ ...decoded, chunk: [...decoded.chunk] }).toEqual({ ...frame, chunk: [...frame.chunk] });
      }),
      { seed },
    );
  });

  test("is readdressed without touching anything else", () => {
    const other = createIdentity().minerId;
    fc.assert(
      fc.property(frames, (frame) => {
        const bytes = encodeFrame(frame);
        readdressFrame(bytes, other);
        expect(decodeFrame(bytes).peer).toBe(other);
        readdressFrame(bytes, peer);
        expect(Buffer.compare(bytes, encodeFrame(frame))).toBe(0);
      }),
      { seed },
    );
  });

  test("is told apart from a control message by its first bytes", () => {
    expect(
      isFrame(
        encodeFrame({ kind: "flush", peer, messageNumber: 0, totalBytes: 0, offset: 0, chunk: new Uint8Array() }),
      ),
    ).toBe(true);
    expect(isFrame(Uint8Array.of(1, 0x41, 0x48, 0x31))).toBe(false);
  });

  test("is refused with a typed failure when its bytes are anything else", () => {
    const hostile = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.tuple(frames, fc.nat(frameHeaderBytes - 1), fc.nat(255)).map(([frame, position, value]) => {
        const bytes = encodeFrame(frame);
        bytes[position] = value;
        return bytes;
      }),
      fc.tuple(frames, fc.nat(frameHeaderBytes)).map(([frame, length]) => encodeFrame(frame).subarray(0, length)),
    );
    let refused = 0;
    fc.assert(
      fc.property(hostile, (bytes) => {
        try {
          const frame = decodeFrame(bytes);
          expect(frame.offset + frame.chunk.length).toBeLessThanOrEqual(frame.totalBytes);
        } catch (error) {
          expect(error).toBeInstanceOf(FailureError);
          refused++;
        }
      }),
      { seed, numRuns: 20_000 },
    );
    expect(refused).toBeGreaterThan(1000);
  });

  test("with a chunk over the limit is refused as too large", () => {
    const chunk = new Uint8Array(maxChunkBytes + 1);
    const bytes = encodeFrame({ kind: "forward", peer, messageNumber: 0, totalBytes: chunk.length, offset: 0, chunk });
    expect(failureCode(() => decodeFrame(bytes))).toBe("message-too-large");
  });

  test("that announces a message over the limit is refused before any memory is taken", () => {
    const bytes = encodeFrame({
      kind: "forward",
      peer,
      messageNumber: 0,
      totalBytes: 0xffffffff,
      offset: 0,
      chunk: Uint8Array.of(1),
    });
    expect(failureCode(() => decodeFrame(bytes))).toBe("message-too-large");
  });
});

function failureCode(action: () => unknown): string | undefined {
  try {
    action();
  } catch (error) {
    if (error instanceof FailureError) return error.failure.code;
    throw error;
  }
  return undefined;
}
