/**
 * Where a miner wants to be paid: a public address of Bittensor, SS58 with its checksum (Substrate's format, prefix 42). Private keys and
 * seed phrases have no business here, and are refused before they can be stored, shown or sent.
 */
import { createHash } from "node:crypto";
import { z } from "zod";
import { FailureError } from "./failure.ts";

const alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/** Substrate's generic network, which Bittensor uses. */
const prefix = 42;
const keyBytes = 32;
const checksumBytes = 2;
const addressBytes = 1 + keyBytes + checksumBytes;

export const payoutAddressSchema = z
  .string()
  .max(64)
  .refine((text) => isPayoutAddress(text), { error: "is no SS58 address of Bittensor" })
  .brand("PayoutAddress");
export type PayoutAddress = z.infer<typeof payoutAddressSchema>;

/** Throws `FailureError` (invalid-option), which never repeats what was given. */
export function readPayoutAddress(text: string): PayoutAddress {
  const trimmed = text.trim();
  if (looksSecret(trimmed))
    throw new FailureError(
      "invalid-option",
      "STOP: this looks like a private key or a seed phrase. It was not stored, logged or sent.",
      {
        action:
          "Never give it to any program that asks for an address. If this is your real one, take it out of your shell's history, and move what it protects. The address is public and begins with a 5.",
      },
    );
  const address = payoutAddressSchema.safeParse(trimmed);
  if (address.success) return address.data;
  throw new FailureError(
    "invalid-option",
    "This is no SS58 address of Bittensor: its letters, length or checksum are wrong.",
    {
      action: "Copy it again from your wallet; it has about 48 letters and digits and begins with a 5.",
    },
  );
}

/** Whether it could be a private key or a seed phrase: 32 or 64 bytes in hex, PEM, or as many words as such a phrase has. */
export function looksSecret(text: string): boolean {
  if (/PRIVATE KEY/.test(text) || /^(0x)?([0-9a-f]{64}|[0-9a-f]{128})$/i.test(text)) return true;
  const words = text.split(/\s+/);
  return words.length >= 12 && words.length <= 24 && words.every((word) => /^\p{L}{2,12}$/u.test(word));
}

function isPayoutAddress(text: string): boolean {
  const bytes = fromBase58(text);
  if (bytes === null || bytes[0] !== prefix) return false;
  const content = bytes.subarray(0, -checksumBytes);
  const hash = createHash("blake2b512").update("SS58PRE").update(content).digest();
  return hash.subarray(0, checksumBytes).equals(bytes.subarray(-checksumBytes));
}

/** The number that the text writes with 58 digits, in `addressBytes` bytes; null: there is none, or in another way than wallets write it. */
function fromBase58(text: string): Buffer | null {
  if (text.startsWith("1")) return null; // a leading zero
  let value = 0n;
  for (const letter of text) {
    const digit = alphabet.indexOf(letter);
    if (digit === -1) return null;
    value = value * 58n + BigInt(digit);
  }
  const hex = value.toString(16);
  return hex.length > 2 * addressBytes ? null : Buffer.from(hex.padStart(2 * addressBytes, "0"), "hex");
}
