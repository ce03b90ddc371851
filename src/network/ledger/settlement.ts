/** Pays out what may be paid: balances below the minimum, and of miners that have named no address, roll over to the next settlement. */
import type { MinerId } from "../../protocol/ids.ts";
import type { PayoutAddress } from "../../protocol/payout-address.ts";
import { type Account, accounts, payableMiner, type Transfer } from "./ledger.ts";
import type { Payment, Payout } from "./payout.ts";

export interface SettlementBooks {
  balances(): Promise<ReadonlyMap<Account, bigint>>;
  payoutAddresses(): Promise<ReadonlyMap<MinerId, PayoutAddress>>;
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
  const addresses = await books.payoutAddresses();
  for (const [account, balance] of await books.balances()) {
    const minerId = payableMiner(account);
    const microCredits = Number(balance);
    const address = minerId === null ? undefined : addresses.get(minerId);
    if (minerId === null || address === undefined) continue;
    if (microCredits > 0 && microCredits >= options.minimumMicroCredits)
      payments.push({ minerId, address, microCredits });
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
