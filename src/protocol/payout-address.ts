/** Where a miner wants to be paid: a public address of Bittensor. */
import type { z } from "zod";
import { addressSchema, readAddress } from "./ss58.ts";

export const payoutAddressSchema = addressSchema.brand("PayoutAddress");
export type PayoutAddress = z.infer<typeof payoutAddressSchema>;

/** Throws `FailureError` (invalid-option), which never repeats what was given. */
export function readPayoutAddress(text: string): PayoutAddress {
  return payoutAddressSchema.parse(readAddress(text));
}
