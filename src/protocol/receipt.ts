/** What an epoch earned, as the network signs it: a miner keeps it, whatever becomes of the books. */
import { z } from "zod";
import { epochRefSchema, minerIdSchema } from "./ids.ts";

const count = z.int().nonnegative();

export const receiptSchema = z.strictObject({
  networkId: z.string().max(64),
  minerId: minerIdSchema,
  at: epochRefSchema,
  stage: count,
  /** Backward-passed tokens that went into the merge. */
  tokens: count,
  /** What was checked before crediting. */
  checks: z.array(z.enum(["merged-hash-agrees", "contribution-finite", "contribution-size"])).readonly(),
  microCredits: count,
  atMs: z.number(),
});
export type Receipt = Readonly<z.infer<typeof receiptSchema>>;

/** What the network signs in a receipt: its fields in a fixed order. */
export function receiptBytes(receipt: Receipt): Uint8Array {
  const { networkId, minerId, at, stage, tokens, checks, microCredits, atMs } = receipt;
  return Buffer.from(
    JSON.stringify([networkId, minerId, at.runId, at.epoch, at.attempt, stage, tokens, checks, microCredits, atMs]),
  );
}
