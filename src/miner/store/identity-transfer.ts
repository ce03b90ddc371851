/** Takes this machine's identity to a file, and from one. */
import { readFileSync, statSync } from "node:fs";
import { fileFailure, writeDurably } from "../../disk/atomic-file.ts";
import { FailureError } from "../../protocol/failure.ts";
import type { MinerId } from "../../protocol/ids.ts";
import { maximumBackupBytes, openIdentity, sealIdentity } from "./identity-backup.ts";
import { loadIdentity, replaceIdentity } from "./identity-file.ts";
import { openStateDatabase } from "./state-database.ts";
import { openStateFolder } from "./state-folder.ts";

/** Never writes over a file. Throws `FailureError`: invalid-option, file-unreadable, disk-full, and as `loadIdentity`. */
export function exportIdentity(stateFolder: string, file: string, passphrase: string): MinerId {
  openStateFolder(stateFolder);
  const identity = loadIdentity(stateFolder);
  writeNewFile(file, sealIdentity(identity, passphrase));
  return identity.minerId;
}

export interface ImportedIdentity {
  readonly minerId: MinerId;
  /** Where the identity that was there before lies now; null: there was none, or the same one. */
  readonly backup: string | null;
}

/**
 * Another identity that is there is put aside, and only with `force`. Throws `FailureError`: already-running while a daemon works with
 * the state folder, wrong-state without `force`, and as `openIdentity`.
 */
export function importIdentityFrom(
  file: string,
  options: { readonly stateFolder: string; readonly passphrase: string; readonly force: boolean },
): ImportedIdentity {
  const { stateFolder, passphrase, force } = options;
  const identity = openIdentity(readBackup(file), passphrase);
  openStateFolder(stateFolder);
  const lock = openStateDatabase(stateFolder);
  try {
    return { minerId: identity.minerId, ...replaceIdentity(stateFolder, identity, { force }) };
  } finally {
    lock.close();
  }
}

function readBackup(file: string): string {
  try {
    // Longer ones are not backups, and are not read to find that out.
    return statSync(file).size > maximumBackupBytes ? "" : readFileSync(file, "utf8");
  } catch (cause) {
    throw fileFailure(`${file} cannot be read`, cause);
  }
}

function writeNewFile(file: string, text: string): void {
  try {
    writeDurably(file, "wx", text);
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "EEXIST")
      throw new FailureError("invalid-option", `${file} is there already, and is not written over.`, {
        action: "Choose another name.",
        cause,
      });
    throw fileFailure(`${file} cannot be written`, cause);
  }
}
