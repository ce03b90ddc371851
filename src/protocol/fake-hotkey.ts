/** The hotkey of a person who signs with a wallet of their own: for tests only, its secret is known to everybody. */
import { secretFromSeed, sign } from "@scure/sr25519";
import { type HotkeyProof, hotkeyProofSchema, hotkeyStatement, lastDayOf } from "./hotkey-proof.ts";
import type { MinerId } from "./ids.ts";

/** Substrate's well-known development account //Alice. */
const seed = "e5be9a5092b81bca64be81d212e7f2f9eba183bb7a90954f7b76361f6edb5c0a";
export const fakeHotkeyAddress = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";

/** In hex, as wallets print it. */
export function signWithFakeHotkey(text: string): string {
  return Buffer.from(sign(secretFromSeed(Buffer.from(seed, "hex")), Buffer.from(text))).toString("hex");
}

/** As it is signed at `nowMs`, in milliseconds since 1970. */
export function fakeHotkeyProof(minerId: MinerId, networkId: MinerId, nowMs: number): HotkeyProof {
  const stated = { networkId, until: lastDayOf(nowMs) };
  const signature = signWithFakeHotkey(hotkeyStatement({ minerId, ...stated }));
  return hotkeyProofSchema.parse({ ...stated, address: fakeHotkeyAddress, signature });
}
