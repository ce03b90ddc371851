/**
 * Double-entry bookkeeping in micro-credits: every transfer takes from one account what it gives to another, so that all
 * balances together are always zero. A run issues credits (its account goes below zero); miners hold them; what is paid out
 * moves on. Amounts are safe integers, balances are bigint. This folder imports `protocol` only.
 */
import { z } from "zod";
import { type EpochRef, epochRefSchema, type MinerId, type RunId } from "../../protocol/ids.ts";
import type { Receipt } from "../../protocol/receipt.ts";

export type Account = string & z.$brand<"Account">;

const accountSchema = z.string().min(1).max(200).brand<"Account">();

export const accounts = {
  /** What the run has issued, as a negative balance. */
  issuance: (runId: RunId): Account => accountSchema.parse(`issuance:${runId}`),
  /** What the miner has earned, checked, and not been paid. */
  payable: (minerId: MinerId): Account => accountSchema.parse(`payable:${minerId}`),
  paid: (minerId: MinerId): Account => accountSchema.parse(`paid:${minerId}`),
};

/** The miner whose payable account this is; null for other accounts. */
export function payableMiner(account: Account): MinerId | null {
  return account.startsWith("payable:") ? (account.slice("payable:".length) as MinerId) : null;
}

export const transferSchema = z.strictObject({
  /** Unique: the same transfer is never entered twice. */
  reference: z.string().max(300),
  from: accountSchema,
  to: accountSchema,
  microCredits: z.int().positive(),
  /** The epoch that earned it; null for payouts. */
  at: epochRefSchema.nullable(),
  atMs: z.number(),
});
export type Transfer = Readonly<z.infer<typeof transferSchema>>;

/** What a receipt enters: from the run's issuance to the miner. */
export function creditTransfer(receipt: Receipt): Transfer {
  const { minerId, at, stage, microCredits, atMs } = receipt;
  return {
    reference: `receipt:${epochKey(at)}:${stage}:${minerId}`,
    from: accounts.issuance(at.runId),
    to: accounts.payable(minerId),
    microCredits,
    at,
    atMs,
  };
}

function epochKey({ runId, epoch, attempt }: EpochRef): string {
  return `${runId}:${epoch}:${attempt}`;
}
