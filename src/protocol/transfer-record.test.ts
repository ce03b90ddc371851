import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createIdentity } from "./identity.ts";
import { runIdSchema } from "./ids.ts";
import {
  contentOf,
  isSigned,
  movedDigest,
  originOf,
  payloadDigest,
  recordBytes,
  type Transfer,
  type TransferRecord,
  transferKinds,
} from "./transfer-record.ts";

const seed = 20_261_126;
const [miner, other] = [createIdentity(), createIdentity()];
const transfers = fc.record({
  networkId: fc.string({ maxLength: 64 }),
  at: fc.record({
    runId: fc.constantFrom(runIdSchema.parse("run"), runIdSchema.parse("run-2")),
    epoch: fc.nat(),
    attempt: fc.nat(),
    stage: fc.nat(0xffff),
  }),
  kind: fc.constantFrom(...transferKinds),
  step: fc.nat(),
  index: fc.nat(),
});
const payloads = fc.uint8Array({ maxLength: 100 });

function recordOf(transfer: Transfer, payload: Uint8Array, origin: TransferRecord | null = null): TransferRecord {
  const content = contentOf(payloadDigest(payload), origin);
  const signature = Buffer.from(miner.sign(recordBytes(transfer, content))).toString("hex");
  return { sender: miner.minerId, content, signature };
}

describe("a record of what was sent", () => {
  it("holds for its sender, its numbers and what it is about, and for nothing else", () => {
    fc.assert(
      fc.property(transfers, transfers, payloads, payloads, (transfer, another, payload, otherPayload) => {
        const record = recordOf(transfer, payload);
        expect(isSigned(transfer, record)).toBe(true);
        expect(isSigned(transfer, { ...record, sender: other.minerId })).toBe(false);
        const isSameTransfer = JSON.stringify(transfer) === JSON.stringify(another);
        expect(isSigned(another, record)).toBe(isSameTransfer);
        const content = contentOf(payloadDigest(otherPayload), null);
        expect(isSigned(transfer, { ...record, content })).toBe(content === record.content);
      }),
      { seed },
    );
  });

  it("commits to what the numbers were computed from, and through that to all before", () => {
    const at = { runId: runIdSchema.parse("run"), epoch: 0, attempt: 0, stage: 0 };
    const transfer: Transfer = { networkId: "network", at, kind: "forward", step: 0, index: 0 };
    const first = [1, 2].map((byte) => recordOf(transfer, Uint8Array.of(byte)));
    const second = first.map((origin) => recordOf(transfer, Uint8Array.of(3), origin));
    const third = second.map((origin) => recordOf(transfer, Uint8Array.of(4), origin));
    expect(new Set([...first, ...second, ...third].map(({ content }) => content)).size).toBe(6);
  });

  it("of what a step moved covers its weight in the average", () => {
    const moved = { tokens: 16, parts: 1, payload: Uint8Array.of(1) };
    const digests = [moved, { ...moved, tokens: 17 }, { ...moved, parts: 2 }, { ...moved, payload: Uint8Array.of(2) }];
    expect(new Set(digests.map(movedDigest)).size).toBe(4);
  });

  it("names as its origin what came from the stage before on the way there, from the stage behind on the way back", () => {
    const at = { runId: runIdSchema.parse("run"), epoch: 0, attempt: 0, stage: 0 };
    const from = (kind: Transfer["kind"], stage: number) => {
      const origin = originOf({ networkId: "network", at: { ...at, stage }, kind, step: 0, index: 0 }, 4);
      return origin && [origin.kind, origin.at.stage];
    };
    expect([0, 1, 2].map((stage) => from("forward", stage))).toEqual([null, ["forward", 0], ["forward", 1]]);
    expect([3, 2, 1].map((stage) => from("backward", stage))).toEqual([
      ["forward", 2],
      ["backward", 3],
      ["backward", 2],
    ]);
    expect(from("moved", 2)).toBeNull();
  });
});
