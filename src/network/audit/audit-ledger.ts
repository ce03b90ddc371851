/** Whether the books are right: every receipt signed and entered, nothing entered without one, balances that add up. */
import { isDeepStrictEqual } from "node:util";
import { verifySignature } from "../../protocol/identity.ts";
import { minerIdSchema } from "../../protocol/ids.ts";
import { receiptBytes } from "../../protocol/receipt.ts";
import { type Account, creditTransfer, payableMiner, type Transfer } from "../ledger/ledger.ts";
import type { RunState } from "../orchestrator/core/state.ts";
import type { SignedReceipt } from "../store/store.ts";
import { type Finding, findingOf } from "./finding.ts";

export interface Books {
  readonly transfers: readonly Transfer[];
  readonly receipts: readonly SignedReceipt[];
  readonly balances: ReadonlyMap<Account, bigint>;
}

const restore = "Restore the state folder from a backup; miners hold signed receipts of what they were credited.";

export function auditLedger({ transfers, receipts, balances }: Books, runs: readonly RunState[]): readonly Finding[] {
  const entered = new Map(transfers.map((transfer) => [transfer.reference, transfer]));
  const credited = new Map(receipts.map((signed) => [creditTransfer(signed.receipt).reference, signed]));
  const nameOf = ({ receipt }: SignedReceipt) =>
    `the receipt of ${receipt.minerId} for epoch ${receipt.at.epoch} of ${receipt.at.runId}, stage ${receipt.stage}`;
  const ofReceipts = (isWrong: (signed: SignedReceipt) => boolean, what: string) =>
    findingOf("receipts", receipts.filter(isWrong), (signed) => `${nameOf(signed)} ${what}`, restore);
  return [
    ...ofReceipts((signed) => !isSigned(signed), "does not bear the signature of the network that it names"),
    ...ofReceipts((signed) => credited.get(creditTransfer(signed.receipt).reference) !== signed, "is there twice"),
    ...ofReceipts(({ receipt }) => {
      const transfer = creditTransfer(receipt);
      return !isDeepStrictEqual(entered.get(transfer.reference), transfer);
    }, "is not entered in the ledger as it should be"),
    ...findingOf(
      "ledger",
      transfers.filter(({ reference }) => reference.startsWith("receipt:") && !credited.has(reference)),
      ({ reference }) => `there is no receipt for the credit ${reference}`,
      restore,
    ),
    ...auditBalances(transfers, balances),
    ...runs.flatMap((state) => auditCredits(state, receipts)),
  ];
}

function isSigned({ receipt, signature }: SignedReceipt): boolean {
  const key = minerIdSchema.safeParse(receipt.networkId);
  return key.success && verifySignature(key.data, receiptBytes(receipt), signature);
}

function auditBalances(transfers: readonly Transfer[], balances: ReadonlyMap<Account, bigint>): readonly Finding[] {
  const sums = new Map<Account, bigint>();
  const add = (account: Account, amount: bigint) => sums.set(account, (sums.get(account) ?? 0n) + amount);
  for (const { from, to, microCredits } of transfers) {
    add(from, -BigInt(microCredits));
    add(to, BigInt(microCredits));
  }
  const differing = [...new Set([...sums.keys(), ...balances.keys()])].filter(
    (account) => (sums.get(account) ?? 0n) !== (balances.get(account) ?? 0n),
  );
  const overdrawn = [...balances].filter(([account, balance]) => payableMiner(account) !== null && balance < 0n);
  return [
    ...findingOf(
      "ledger",
      differing,
      (account) => `the balance of ${account} is not the sum of its transfers`,
      restore,
    ),
    ...findingOf("ledger", overdrawn, ([account]) => `more was paid out of ${account} than was ever credited`, restore),
  ];
}

/** The run's own count of what it credited, against the receipts. */
function auditCredits({ definition, credits }: RunState, receipts: readonly SignedReceipt[]): readonly Finding[] {
  const sums = new Map<string, number>();
  for (const { receipt } of receipts)
    if (receipt.at.runId === definition.runId)
      sums.set(receipt.minerId, (sums.get(receipt.minerId) ?? 0) + receipt.microCredits);
  const counted = new Map<string, number>(Object.entries(credits));
  const differing = [...new Set([...sums.keys(), ...counted.keys()])].filter(
    (minerId) => (sums.get(minerId) ?? 0) !== (counted.get(minerId) ?? 0),
  );
  const describe = (minerId: string) =>
    `${definition.runId} credited ${minerId} with ${counted.get(minerId) ?? 0} micro-credits, its receipts are for ${sums.get(minerId) ?? 0}`;
  return findingOf("receipts", differing, describe, restore);
}
