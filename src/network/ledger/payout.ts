/** Turns settled balances into payments. Implementations: CSV files (`csv-payout.ts`). */
import type { MinerId } from "../../protocol/ids.ts";
import type { PayoutAddress } from "../../protocol/payout-address.ts";

export interface Payment {
  readonly minerId: MinerId;
  readonly address: PayoutAddress;
  readonly microCredits: number;
}

export interface Payout {
  /**
   * Makes the payments of one settlement, all or none. Asked again with the same id and payments — after a crash before they
   * were entered in the ledger — it pays nothing twice. Rejects when the payments were not made.
   */
  pay(settlementId: string, payments: readonly Payment[]): Promise<void>;
}
