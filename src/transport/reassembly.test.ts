import { describe, expect, it } from "vitest";
import type { FailureError } from "../protocol/failure.ts";
import type { Frame } from "../protocol/frames.ts";
import { createIdentity } from "../protocol/identity.ts";
import { Reassembly } from "./reassembly.ts";

const peer = createIdentity().minerId;
const frame = (
  messageNumber: number,
  offset: number,
  totalBytes: number,
  bytes: number,
  more: Partial<Frame> = {},
): Frame => ({
  kind: "forward",
  peer,
  messageNumber,
  offset,
  totalBytes,
  chunk: new Uint8Array(bytes).fill(messageNumber),
  ...more,
});

describe("reassembly", () => {
  const open = (budgetBytes = 1000, maxSenders = 100) => {
    const dropped: string[] = [];
    const onDropped = (_: unknown, error: FailureError) => dropped.push(error.failure.code);
    return { reassembly: new Reassembly({ budgetBytes, maxSenders, onDropped }), dropped };
  };

  it("puts interleaved messages of different kinds together", () => {
    const { reassembly, dropped } = open();
    expect(reassembly.accept(frame(1, 0, 20, 10))).toBeNull();
    expect(reassembly.accept(frame(2, 0, 5, 5, { kind: "backward" }))?.kind).toBe("backward");
    expect([...(reassembly.accept(frame(1, 10, 20, 10))?.body ?? [])]).toEqual(Array(20).fill(1));
    expect(dropped).toEqual([]);
    expect(reassembly.heldBytes).toBe(0);
  });

  it("drops a message that comes again and one with a hole in it", () => {
    const { reassembly, dropped } = open();
    expect(reassembly.accept(frame(7, 0, 4, 4))).not.toBeNull();
    expect(reassembly.accept(frame(7, 0, 4, 4))).toBeNull();
    expect(reassembly.accept(frame(8, 0, 30, 10))).toBeNull();
    expect(reassembly.accept(frame(8, 20, 30, 10))).toBeNull();
    expect(reassembly.accept(frame(8, 10, 30, 10))).toBeNull();
    expect(dropped).toEqual(["replayed-message", "malformed-message"]);
    expect(reassembly.heldBytes).toBe(0);
  });

  it("reports missing messages and goes on with the next", () => {
    const { reassembly, dropped } = open();
    reassembly.accept(frame(1, 0, 1, 1));
    expect(reassembly.accept(frame(4, 0, 1, 1))).not.toBeNull();
    expect(dropped).toEqual(["malformed-message"]);
  });

  it("takes a sender that starts to count elsewhere for a new session", () => {
    const { reassembly, dropped } = open();
    reassembly.accept(frame(5000, 0, 1, 1));
    expect(reassembly.accept(frame(17, 0, 1, 1))).not.toBeNull();
    expect(dropped).toEqual([]);
  });

  it("counts on past the largest number", () => {
    const { reassembly, dropped } = open();
    reassembly.accept(frame(2 ** 32 - 1, 0, 1, 1));
    expect(reassembly.accept(frame(0, 0, 1, 1))).not.toBeNull();
    expect(reassembly.accept(frame(2 ** 32 - 1, 0, 1, 1))).toBeNull();
    expect(dropped).toEqual(["replayed-message"]);
  });

  it("keeps a bounded number of bytes however many peers begin messages", () => {
    const { reassembly, dropped } = open(1000, 10);
    for (let i = 0; i < 50; i++) reassembly.accept(frame(1, 0, 2 ** 28, 300, { peer: createIdentity().minerId }));
    expect(reassembly.heldBytes).toBeLessThanOrEqual(1000);
    expect(dropped).toContain("memory-full");
    expect(reassembly.accept(frame(1, 0, 10, 10))).not.toBeNull();
  });

  it("lets a new message of a kind replace an abandoned one", () => {
    const { reassembly } = open();
    reassembly.accept(frame(1, 0, 100, 50));
    expect(reassembly.accept(frame(2, 0, 5, 5))).not.toBeNull();
    expect(reassembly.heldBytes).toBe(0);
  });
});
