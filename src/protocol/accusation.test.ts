import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Accusation, accusationSchema, accusedOf, isProven } from "./accusation.ts";
import { createIdentity, type Identity } from "./identity.ts";
import { runIdSchema } from "./ids.ts";
import {
  contentOf,
  originOf,
  payloadDigest,
  recordBytes,
  type Transfer,
  type TransferRecord,
  transferKinds,
} from "./transfer-record.ts";

const seed = 20_261_126;
const stages = 3;
const networkId = "network";
const [accused, accuser] = [createIdentity(), createIdentity()];
const at = { runId: runIdSchema.parse("run"), epoch: 2, attempt: 0, stage: 1 };
const about = { at, kind: "forward", step: 3, index: 14 } as const;
const transfer: Transfer = { networkId, ...about };
const digests = [1, 2].map((byte) => payloadDigest(Uint8Array.of(byte))) as [string, string];

function recordBy(signer: Identity, of: Transfer, digest: string, origin: TransferRecord | null): TransferRecord {
  const content = contentOf(digest, origin);
  const signature = Buffer.from(signer.sign(recordBytes(of, content))).toString("hex");
  return { sender: signer.minerId, content, signature };
}

/** Of what the accused computed from, before it sent something of that kind. */
function originBy(signer: Identity, kind: Transfer["kind"] = "forward"): TransferRecord {
  return recordBy(signer, originOf({ ...transfer, kind }, stages) ?? transfer, digests[0], null);
}

const honestRecord = recordBy(accused, transfer, digests[0], originBy(accuser));
const forgedOrigin = { ...originBy(accuser), content: digests[1] };

describe("an accusation", () => {
  const twoContents: Accusation = {
    type: "accuse",
    ...about,
    proof: {
      type: "two-contents",
      records: [honestRecord, recordBy(accused, transfer, digests[1], originBy(accuser))],
    },
  };
  const falseOrigin: Accusation = {
    type: "accuse",
    ...about,
    proof: {
      type: "false-origin",
      record: recordBy(accused, transfer, digests[0], forgedOrigin),
      payload: digests[0],
      origin: forgedOrigin,
    },
  };

  it.each([
    ["of two contents", twoContents],
    ["of a false origin", falseOrigin],
  ])("%s is proven by what the accused has signed, in that network and place only", (_, accusation) => {
    expect(accusationSchema.parse(accusation)).toEqual(accusation);
    expect(accusedOf(accusation)).toBe(accused.minerId);
    expect(isProven(accusation, networkId, stages)).toBe(true);
    expect(isProven(accusation, "another network", stages)).toBe(false);
    for (const elsewhere of [{ epoch: 1 }, { attempt: 1 }, { stage: 2 }, { runId: runIdSchema.parse("run-2") }])
      expect(isProven({ ...accusation, at: { ...at, ...elsewhere } }, networkId, stages)).toBe(false);
  });

  it("of an honest miner is never proven, whatever is made of what it and others have signed", () => {
    // What an accuser can get hold of: honest records, its own of anything, and invented ones.
    const records = [
      honestRecord,
      originBy(accuser),
      recordBy(accused, { ...transfer, index: 15 }, digests[1], originBy(accuser)),
      recordBy(accused, { ...transfer, kind: "backward" }, digests[1], originBy(accuser, "backward")),
      recordBy(accused, { ...transfer, networkId: "another network" }, digests[1], originBy(accuser)),
      recordBy(accuser, transfer, digests[1], originBy(accuser)),
    ];
    const contents = records.map(({ content }) => content);
    const signatures = records.map(({ signature }) => signature);
    const record = fc.oneof(
      fc.constantFrom(...records),
      fc.record({
        sender: fc.constant(accused.minerId),
        content: fc.constantFrom(...contents, ...digests),
        signature: fc.constantFrom(...signatures, "00".repeat(64)),
      }),
    );
    const accusation = fc.record({
      type: fc.constant("accuse" as const),
      at: fc.constantFrom(at, { ...at, stage: 0 }, { ...at, stage: 2 }),
      kind: fc.constantFrom(...transferKinds),
      step: fc.constantFrom(3, 4),
      index: fc.constantFrom(14, 15),
      proof: fc.oneof(
        fc.record({ type: fc.constant("two-contents" as const), records: fc.tuple(record, record) }),
        fc.record({
          type: fc.constant("false-origin" as const),
          record,
          payload: fc.constantFrom(...digests),
          origin: record,
        }),
      ),
    });
    fc.assert(
      fc.property(accusation, (one) => {
        if (accusedOf(one) === accused.minerId) expect(isProven(one, networkId, stages)).toBe(false);
      }),
      { seed, numRuns: 3000 },
    );
  });
});
