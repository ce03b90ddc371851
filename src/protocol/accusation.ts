/**
 * That a miner lied to its peers, as one of them tells the network: with what the liar itself has signed, so that nobody has to be
 * believed. What is merely damaged proves nothing against anybody.
 */
import { z } from "zod";
import { assertNever } from "./assert-never.ts";
import { type MinerId, placeRefSchema } from "./ids.ts";
import {
  contentOf,
  digestSchema,
  isSigned,
  originOf,
  type Transfer,
  transferKinds,
  transferRecordSchema,
} from "./transfer-record.ts";

const count = z.int().nonnegative();

export const accusationSchema = z.strictObject({
  type: z.literal("accuse"),
  /** The place that the accused sent from. */
  at: placeRefSchema,
  /** What it sent, as `Transfer` says. */
  kind: z.enum(transferKinds),
  step: count,
  index: count,
  proof: z.discriminatedUnion("type", [
    /** It signed two contents where there can be one only. */
    z.strictObject({ type: z.literal("two-contents"), records: z.tuple([transferRecordSchema, transferRecordSchema]) }),
    /** It signed that it computed from something which nobody sent to it. `payload`: digest of what it made of that. */
    z.strictObject({
      type: z.literal("false-origin"),
      record: transferRecordSchema,
      payload: digestSchema,
      origin: transferRecordSchema,
    }),
  ]),
});
export type Accusation = Readonly<z.infer<typeof accusationSchema>>;

/** Whom it is about. */
export function accusedOf({ proof }: Accusation): MinerId {
  return proof.type === "two-contents" ? proof.records[0].sender : proof.record.sender;
}

/** Whether the accused has signed what convicts it. `stages`: in the run. */
export function isProven(accusation: Accusation, networkId: string, stages: number): boolean {
  const { proof, ...rest } = accusation;
  const transfer: Transfer = { networkId, ...rest };
  switch (proof.type) {
    case "two-contents": {
      const [one, other] = proof.records;
      const differ = one.sender === other.sender && one.content !== other.content;
      return differ && isSigned(transfer, one) && isSigned(transfer, other);
    }
    case "false-origin": {
      const { record, payload, origin } = proof;
      const from = originOf(transfer, stages);
      const isNamed = record.content === contentOf(payload, origin) && isSigned(transfer, record);
      return isNamed && from !== null && !isSigned(from, origin);
    }
    default:
      return assertNever(proof);
  }
}
