/** Where a passphrase comes from: a file, the environment, or a person at a terminal, who does not see it. */

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { FailureError } from "../protocol/failure.ts";

/** Rejects with `FailureError`: invalid-option when there is none and nobody to ask, file-unreadable, cancelled. */
export async function readPassphrase(file: string | undefined, ask: (text: string) => void): Promise<string> {
  const text = file === undefined ? process.env.TAH_PASSPHRASE : firstLineOf(file);
  if (text !== undefined && text !== "") return text;
  if (file === undefined && process.stdin.isTTY) return promptForPassphrase(ask);
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

async function promptForPassphrase(ask: (text: string) => void): Promise<string> {
  ask("Passphrase (not shown):");
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: nowhere, terminal: true });
  try {
    return await lines.question("");
  } catch (cause) {
    // Ctrl-C, or the end of the input.
    throw new FailureError("cancelled", "No passphrase was given.", { cause });
  } finally {
    lines.close();
  }
}
