/** Private keys and seed phrases have no business here, and are refused before they can be stored, shown or sent. */
import { FailureError } from "./failure.ts";

/** A seed phrase has this many words at least. */
const phraseWords = 12;

/** Throws `FailureError` (invalid-option), which never repeats what was given, where `text` could be a private key or a seed phrase. */
export function refuseSecret(text: string): void {
  if (looksSecret(text)) throw secretFailure();
}

/** What a person is told who gave a secret. */
export function secretFailure(): FailureError {
  return new FailureError(
    "invalid-option",
    "STOP: this looks like a private key or a seed phrase. It was not stored, logged or sent.",
    {
      action:
        "Never give it to any program that asks for an address or a signature. If this is your real one, take it out of your shell's history, and move what it protects. The address is public and begins with a 5.",
    },
  );
}

/**
 * Whether it could be one: 32 or 64 bytes in hex, alone or before a derivation path; PEM; a wallet's key file; or as many words in a row
 * as a phrase has.
 */
export function looksSecret(text: string): boolean {
  if (/PRIVATE KEY|secretPhrase|secretSeed|privateKey|"encoded"/i.test(text)) return true;
  const words = text.split(/[\s/,]+/);
  if (words.some((word) => /^(0x)?([0-9a-f]{64}|[0-9a-f]{128})$/i.test(word))) return true;
  const isWord = words.map((word) => (/^\p{L}{2,12}$/u.test(word) ? "w" : " ")).join("");
  return isWord.includes("w".repeat(phraseWords));
}
