/** Pays out what may be paid: balances below the minimum roll over to the next settlement. */
import { type Account, accounts, payableMiner, type Transfer } from "./ledger.ts";
import type { Payment, Payout } from "./payout.ts";

export interface SettlementBooks {
  balances(): Promise<ReadonlyMap<Account, bigint>>;
  enter(transfers: readonly Transfer[]): Promise<void>;
}

export interface SettlementOptions {
  /** The same id never pays twice. */
  readonly settlementId: string;
  readonly minimumMicroCredits: number;
  readonly atMs: number;
}

export async function settle(
  books: SettlementBooks,
  payout: Payout,
  options: SettlementOptions,
): Promise<readonly Payment[]> {
  const payments: Payment[] = [];
  for (const [account, balance] of await books.balances()) {
    const minerId = payableMiner(account);
    const microCredits = Number(balance);
    if (minerId !== null && microCredits > 0 && microCredits >= options.minimumMicroCredits)
      payments.push({ minerId, microCredits });
  }
  payments.sort((a, b) => (a.minerId < b.minerId ? -1 : 1));
  if (payments.length === 0) return payments;
  await payout.pay(options.settlementId, payments);
  await books.enter(
    payments.map(({ minerId, microCredits }) => ({
      reference: `settlement:${options.settlementId}:${minerId}`,
      from: accounts.payable(minerId),
      to: accounts.paid(minerId),
      microCredits,
      at: null,
      atMs: options.atMs,
    })),
  );
  return payments;
}
