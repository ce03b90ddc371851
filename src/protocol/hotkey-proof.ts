/**
 * That a miner belongs to the owner of a Bittensor hotkey (sr25519): the hotkey's own signature over a statement that names the miner's
 * key, the network and a day. It is made with the owner's wallet; the hotkey's secret never comes near this software. Each session is
 * signed with the miner's key, so that a statement is of no use to whoever copied it.
 */
import { z } from "zod";
import { FailureError } from "./failure.ts";
import { type MinerId, minerIdSchema, shortId } from "./ids.ts";
import { refuseSecret, secretFailure } from "./secrets.ts";
import { isSr25519PrivateKey, isSr25519Signature } from "./sr25519.ts";
import { addressSchema, publicKeyIn, readAddress } from "./ss58.ts";

/** A statement cannot be taken back where the miner's key was lost, so it ends by itself: four times a year are no great burden. */
const validDays = 90;
/** For clocks that differ. */
const toleranceDays = 1;
const dayMs = 86_400_000;

/** What the hotkey's owner gives. */
const hotkeyClaimSchema = z.strictObject({
  /** The hotkey itself, SS58. */
  address: addressSchema,
  /** The last day that it holds on, in UTC: YYYY-MM-DD. */
  until: z.iso.date(),
  /** sr25519, over `hotkeyStatement`: 64 bytes in lower-case hex. */
  signature: z.string().regex(/^[0-9a-f]{128}$/),
});
export type HotkeyClaim = Readonly<z.infer<typeof hotkeyClaimSchema>>;

export const hotkeyProofSchema = hotkeyClaimSchema.extend({
  /** Of the network that the statement names. */
  networkId: minerIdSchema,
});
export type HotkeyProof = Readonly<z.infer<typeof hotkeyProofSchema>>;

/** What the hotkey signs: one line, which fits between quotation marks in any shell. */
export function hotkeyStatement(of: { minerId: MinerId; networkId: MinerId; until: string }): string {
  return `Train at Home: this hotkey vouches for the miner ${of.minerId} on the network ${of.networkId} until ${of.until}.`;
}

/** The last day of a statement that is made now. */
export function lastDayOf(nowMs: number): string {
  return new Date(nowMs + validDays * dayMs).toISOString().slice(0, "YYYY-MM-DD".length);
}

/**
 * A claim as it was typed or pasted; its signature with or without 0x. Throws `FailureError` (invalid-option), which never repeats what
 * was given.
 */
export function readHotkeyClaim(given: HotkeyClaim): HotkeyClaim {
  const signature = given.signature.trim().toLowerCase().replace(/^0x/, "");
  const until = given.until.trim();
  const { shape } = hotkeyClaimSchema;
  const isSignature = shape.signature.safeParse(signature).success;
  // The words of a phrase without quotation marks may have got to several places.
  refuseSecret(isSignature ? until : `${until} ${signature} ${given.address}`);
  const address = readAddress(given.address);
  if (!isSignature)
    throw new FailureError("invalid-option", "This is no sr25519 signature: it has 64 bytes, 128 digits in hex.", {
      action: "Copy all of what your wallet printed as the signature.",
    });
  const publicKey = publicKeyIn(address);
  if (publicKey !== null && isSr25519PrivateKey(Buffer.from(signature, "hex"), publicKey)) throw secretFailure();
  if (!shape.until.safeParse(until).success)
    throw new FailureError("invalid-option", "The last day is written as YYYY-MM-DD.", {
      action: "Take it from the statement that was signed.",
    });
  return { address, until, signature };
}

/** Where and when a proof is to hold. */
export interface Occasion {
  readonly networkId: string;
  readonly nowMs: number;
}

/** Why the proof does not hold, whoever signed it; null: it does. */
export function reasonAgainst(proof: HotkeyProof, { networkId, nowMs }: Occasion): string | null {
  if (proof.networkId !== networkId) return `is for the network ${shortId(proof.networkId)}, not for this one`;
  const lastDayMs = Date.parse(proof.until);
  if (nowMs >= lastDayMs + dayMs) return `was valid until ${proof.until}`;
  const isTooLong = lastDayMs > nowMs + (validDays + toleranceDays) * dayMs;
  return isTooLong ? `is valid until ${proof.until}, for longer than ${validDays} days` : null;
}

/** Throws `FailureError` (not-authorised) where the proof is for another network, or not valid now. */
export function mustHold(proof: HotkeyProof, occasion: Occasion): void {
  const reason = reasonAgainst(proof, occasion);
  if (reason === null) return;
  throw new FailureError("not-authorised", `The proof of the hotkey ${reason}.`, {
    action: "Sign a new statement: tah hotkey statement prints it.",
  });
}

/** Throws `FailureError` (bad-signature) where it is not the hotkey that signed, or not for this miner. Takes some milliseconds. */
export function mustBeSignedFor(minerId: MinerId, { address, signature, ...stated }: HotkeyProof): void {
  const publicKey = publicKeyIn(address);
  const statement = hotkeyStatement({ minerId, ...stated });
  // Wallets in browsers wrap what they sign, so that it can never be a transaction.
  const texts = [statement, `<Bytes>${statement}</Bytes>`];
  const isSigned = (text: string) =>
    publicKey !== null && isSr25519Signature(publicKey, Buffer.from(text), Buffer.from(signature, "hex"));
  if (!texts.some(isSigned))
    throw new FailureError("bad-signature", "The signature is not this hotkey's over the statement of this miner.", {
      action:
        "Sign exactly the text that tah hotkey statement prints, with the hotkey and not the coldkey, and name the same last day.",
    });
}
