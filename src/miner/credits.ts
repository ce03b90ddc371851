/**
 * What this miner's work is worth, as far as it knows itself. Micro-credits.
 * - payable: what receipts grant; the network signs one after its checks, when the epoch's merge is recorded.
 * - pending: work since the last receipt at that receipt's price; the network has not checked it yet, and may refuse it.
 * - estimated: a forecast of the next 24 hours at the present speed and that price.
 * - paid: nothing, as long as networks pay nothing out.
 */
import type { MinerId } from "../protocol/ids.ts";
import type { CreditsView } from "../protocol/machine-view.ts";
import { type Receipt, receiptBytes } from "../protocol/receipt.ts";
import { isSignedByNetwork } from "./session/network-signature.ts";
import type { ReceiptTotals } from "./store/state-database.ts";

const secondsPerDay = 86_400;

export interface Work {
  readonly tokensPerSecond: number;
  /** Backward-passed tokens since the last receipt, or since the daemon started. */
  readonly tokensSinceReceipt: number;
}

export function creditsOf(granted: ReceiptTotals, latest: ReceiptTotals | null, work: Work): CreditsView {
  const microCreditsPerToken = latest === null || latest.tokens === 0 ? 0 : latest.microCredits / latest.tokens;
  return {
    estimated: Math.round(work.tokensPerSecond * secondsPerDay * microCreditsPerToken),
    pending: Math.round(work.tokensSinceReceipt * microCreditsPerToken),
    payable: granted.microCredits,
    paid: 0,
  };
}

/** Whether `networkId`, which is the network's public key, grants this receipt to this miner. */
export function isGranted(receipt: Receipt, signature: Uint8Array, networkId: string, minerId: MinerId): boolean {
  if (receipt.networkId !== networkId || receipt.minerId !== minerId) return false;
  return isSignedByNetwork(networkId, receiptBytes(receipt), signature);
}
