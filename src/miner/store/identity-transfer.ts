/** Takes this machine's identity to a file, and from one. */
import { readFileSync, statSync } from "node:fs";
import { fileFailure, writeDurably } from "../../disk/atomic-file.ts";
import { FailureError } from "../../protocol/failure.ts";
import type { MinerId } from "../../protocol/ids.ts";
import type { KeyPlace, KeyStores } from "../key-store/key-store.ts";
import { maximumBackupBytes, openIdentity, sealIdentity } from "./identity-backup.ts";
import {
  loadIdentity,
  type MovedIdentity,
  moveIdentity,
  type ReplacedIdentity,
  replaceIdentity,
} from "./identity-file.ts";
import { openStateDatabase } from "./state-database.ts";
import { openStateFolder } from "./state-folder.ts";

/** A state folder, and the key stores that its key may lie in. */
export interface IdentityHome {
  readonly stateFolder: string;
  readonly stores: KeyStores;
}

/** Never writes over a file. Rejects with `FailureError`: invalid-option, file-unreadable, disk-full, and as `loadIdentity`. */
export async function exportIdentity(home: IdentityHome, file: string, passphrase: string): Promise<MinerId> {
  const { stateFolder, stores } = home;
  openStateFolder(stateFolder);
  const identity = await loadIdentity(stateFolder, stores);
  writeNewFile(file, sealIdentity(identity, passphrase));
  return identity.minerId;
}

export interface ImportedIdentity extends ReplacedIdentity {
  readonly minerId: MinerId;
}

/**
 * Another identity that is there is put aside, and only with `force`. Rejects with `FailureError`: already-running while a daemon works
 * with the state folder, wrong-state without `force`, and as `openIdentity` and `loadIdentity`.
 */
export async function importIdentityFrom(
  home: IdentityHome,
  file: string,
  options: { readonly passphrase: string; readonly force: boolean },
): Promise<ImportedIdentity> {
  const { stateFolder, stores } = home;
  const identity = openIdentity(readBackup(file), options.passphrase);
  const { backup } = await whileNoDaemonWorks(stateFolder, () =>
    replaceIdentity(stateFolder, identity, { force: options.force, stores }),
  );
  return { minerId: identity.minerId, backup };
}

/** Rejects with `FailureError`: already-running while a daemon works with the state folder, and as `moveIdentity`. */
export function moveIdentityTo({ stateFolder, stores }: IdentityHome, place: KeyPlace): Promise<MovedIdentity> {
  return whileNoDaemonWorks(stateFolder, () => moveIdentity(stateFolder, place, stores));
}

async function whileNoDaemonWorks<T>(stateFolder: string, work: () => Promise<T>): Promise<T> {
  openStateFolder(stateFolder);
  const lock = openStateDatabase(stateFolder);
  try {
    return await work();
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
