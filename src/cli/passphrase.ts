/** Where a passphrase comes from: a file, the environment, or a person at a terminal, who does not see it. */
import { readFileSync } from "node:fs";
import { createInterface, type Interface } from "node:readline/promises";
import { Writable } from "node:stream";
import { FailureError } from "../protocol/failure.ts";

export interface PassphraseSource {
  /** Whose first line it is. */
  readonly file: string | undefined;
  /** Whether a person types it twice, since nobody sees what was typed. */
  readonly twice: boolean;
  readonly say: (text: string) => void;
}

/** Rejects with `FailureError`: invalid-option when there is none and nobody to ask, file-unreadable, cancelled. */
export async function readPassphrase({ file, twice, say }: PassphraseSource): Promise<string> {
  const text = file === undefined ? process.env.TAH_PASSPHRASE : firstLineOf(file);
  if (text !== undefined && text !== "") return text;
  if (file === undefined && process.stdin.isTTY) return promptForPassphrase(twice, say);
  throw new FailureError("invalid-option", "No passphrase was given.", {
    action: "Use a terminal, --passphrase-file with a file's first line, or TAH_PASSPHRASE.",
  });
}

function firstLineOf(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8").split(/\r?\n/, 1)[0];
  } catch (cause) {
    throw new FailureError("file-unreadable", `The passphrase's file ${file} cannot be read.`, { cause });
  }
}

async function promptForPassphrase(twice: boolean, say: (text: string) => void): Promise<string> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: nowhere, terminal: true });
  try {
    say("Passphrase (not shown):");
    const passphrase = await lineOf(lines);
    if (twice) {
      say("Once more:");
      if ((await lineOf(lines)) !== passphrase)
        throw new FailureError("invalid-option", "These are two different passphrases.", { action: "Try again." });
    }
    return passphrase;
  } finally {
    lines.close();
  }
}

async function lineOf(lines: Interface): Promise<string> {
  try {
    return await lines.question("");
  } catch (cause) {
    // Ctrl-C, or the end of the input.
    throw new FailureError("cancelled", "No passphrase was given.", { cause });
  }
}
