/** Public addresses as Bittensor's wallets write them: SS58 with its checksum (Substrate's format, prefix 42). */
import { createHash } from "node:crypto";
import { z } from "zod";
import { FailureError } from "./failure.ts";
import { refuseSecret } from "./secrets.ts";

const alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/** Substrate's generic network, which Bittensor uses. */
const prefix = 42;
const keyBytes = 32;
const checksumBytes = 2;
const addressBytes = 1 + keyBytes + checksumBytes;

export const addressSchema = z
  .string()
  .max(64)
  .refine((text) => publicKeyIn(text) !== null, { error: "is no SS58 address of Bittensor" });

/** An address as it was typed or pasted. Throws `FailureError` (invalid-option), which never repeats what was given. */
export function readAddress(text: string): string {
  const trimmed = text.trim();
  refuseSecret(trimmed);
  const address = addressSchema.safeParse(trimmed);
  if (address.success) return address.data;
  throw new FailureError(
    "invalid-option",
    "This is no SS58 address of Bittensor: its letters, length or checksum are wrong.",
    {
      action: "Copy it again from your wallet; it has about 48 letters and digits and begins with a 5.",
    },
  );
}

/** The 32 bytes that the address stands for; null: it is no address of Bittensor. */
export function publicKeyIn(address: string): Uint8Array | null {
  const bytes = fromBase58(address);
  if (bytes === null || bytes[0] !== prefix) return null;
  const content = bytes.subarray(0, -checksumBytes);
  const hash = createHash("blake2b512").update("SS58PRE").update(content).digest();
  const isIntact = hash.subarray(0, checksumBytes).equals(bytes.subarray(-checksumBytes));
  return isIntact ? content.subarray(1) : null;
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
