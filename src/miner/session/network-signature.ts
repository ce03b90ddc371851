import { verifySignature } from "../../protocol/identity.ts";
import { minerIdSchema } from "../../protocol/ids.ts";

/** Whether a network signed this. Its id is the ed25519 public key that it signs with, in hex as miners' ids are; whoever has no such id signs nothing. */
export function isSignedByNetwork(networkId: string, bytes: Uint8Array, signature: Uint8Array): boolean {
  const key = minerIdSchema.safeParse(networkId);
  return key.success && verifySignature(key.data, bytes, signature);
}
