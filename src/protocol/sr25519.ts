/** Schnorr signatures as Substrate's wallets make them (sr25519, signing context "substrate"). Nothing is signed here, only checked. */
import { getPublicKey, verify } from "@scure/sr25519";

const scalarBytes = 32;

/** Whether `signature` is that of `publicKey` (32 bytes) over `message`. Never throws: any malformed input is a wrong signature. */
export function isSr25519Signature(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  try {
    return verify(message, signature, publicKey);
  } catch {
    return false; // no point of the group, no scalar, or the mark of sr25519 is missing
  }
}

/**
 * Whether these 64 bytes, which are as many as a signature has, are the private key of `publicKey`: its scalar as Bittensor's key files
 * have it, or multiplied by 8 as Polkadot's do, and the seed of its nonces. Never throws.
 */
export function isSr25519PrivateKey(bytes: Uint8Array, publicKey: Uint8Array): boolean {
  return [bytes, withScalarTimes8(bytes)].some((key) => {
    try {
      return Buffer.from(getPublicKey(key)).equals(publicKey);
    } catch {
      return false; // no scalar
    }
  });
}

function withScalarTimes8(bytes: Uint8Array): Uint8Array {
  const scalar = BigInt(`0x${Buffer.from(bytes.subarray(0, scalarBytes)).reverse().toString("hex")}`);
  const hex = BigInt.asUintN(8 * scalarBytes, scalar * 8n).toString(16);
  const littleEndian = Buffer.from(hex.padStart(2 * scalarBytes, "0"), "hex").reverse();
  return Buffer.concat([littleEndian, bytes.subarray(scalarBytes)]);
}
