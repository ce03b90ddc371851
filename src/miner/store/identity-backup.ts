/**
 * This machine's key, sealed by a passphrase, for another disk or another machine. JSON: `format`, the key's id, and salt, nonce and
 * sealed key in base64. Sealed is the PKCS #8 PEM, by AES-256-GCM (tag behind it, format and id bound to it) under a key that scrypt
 * (RFC 7914: N = 2^17, r = 8, p = 1) makes of the passphrase in Unicode's form NFKC.
 */
import { createCipheriv, createDecipheriv, randomBytes, type ScryptOptions, scryptSync } from "node:crypto";
import { z } from "zod";
import { FailureError } from "../../protocol/failure.ts";
import { type Identity, importIdentity } from "../../protocol/identity.ts";
import { minerIdSchema } from "../../protocol/ids.ts";
import { parseJson } from "../json.ts";

const format = "train-at-home identity 1";
export const minimumPassphraseLength = 12;
/** A file is small; anything longer is something else. */
export const maximumBackupBytes = 4096;

/** Costs 128 MiB and about half a second, also to who tries passphrases. The format fixes it: no file may ask for more. */
const scrypt: ScryptOptions = { N: 2 ** 17, r: 8, p: 1, maxmem: 192 << 20 };
const tagBytes = 16;

const base64 = (minimumBytes: number, maximumBytes: number) =>
  z
    .base64()
    .transform((text) => Buffer.from(text, "base64"))
    .refine(({ length }) => length >= minimumBytes && length <= maximumBytes, { error: "has the wrong length" });
const backupSchema = z.strictObject({
  format: z.literal(format),
  minerId: minerIdSchema,
  salt: base64(16, 16),
  nonce: base64(12, 12),
  sealedKey: base64(tagBytes + 1, 1024),
});

/** Throws `FailureError` (invalid-option) when the passphrase is too short to protect anything. */
export function sealIdentity(identity: Identity, passphrase: string): string {
  if (passphrase.length < minimumPassphraseLength)
    throw new FailureError("invalid-option", `A passphrase has at least ${minimumPassphraseLength} characters.`, {
      action: "Several words that have nothing to do with each other are easy to keep.",
    });
  const { minerId } = identity;
  const salt = randomBytes(16);
  const nonce = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", keyOf(passphrase, salt), nonce).setAAD(boundTo(minerId));
  const sealed = Buffer.concat([cipher.update(identity.exportPrivateKeyPem()), cipher.final(), cipher.getAuthTag()]);
  const fields = {
    salt: salt.toString("base64"),
    nonce: nonce.toString("base64"),
    sealedKey: sealed.toString("base64"),
  };
  return `${JSON.stringify({ format, minerId, ...fields }, null, 2)}\n`;
}

/** Throws `FailureError`: file-unreadable when it is no such backup, not-authorised when the passphrase does not open it. */
export function openIdentity(backup: string, passphrase: string): Identity {
  const parsed = backupSchema.safeParse(parseJson(backup));
  if (!parsed.success)
    throw new FailureError("file-unreadable", "This file is no exported identity.", {
      action: "Give one that tah identity export has written.",
    });
  const { minerId, salt, nonce, sealedKey } = parsed.data;
  const decipher = createDecipheriv("aes-256-gcm", keyOf(passphrase, salt), nonce)
    .setAAD(boundTo(minerId))
    .setAuthTag(sealedKey.subarray(-tagBytes));
  try {
    const pem = Buffer.concat([decipher.update(sealedKey.subarray(0, -tagBytes)), decipher.final()]);
    return importIdentity(pem.toString());
  } catch (cause) {
    throw new FailureError("not-authorised", "The passphrase does not open this file, or the file was changed.", {
      action: "Try again with the passphrase that it was exported with. Without it nobody can open it.",
      cause,
    });
  }
}

function keyOf(passphrase: string, salt: Uint8Array): Buffer {
  return scryptSync(passphrase.normalize("NFKC"), salt, 32, scrypt);
}

function boundTo(minerId: string): Uint8Array {
  return Buffer.from(`${format}\n${minerId}\n`);
}
