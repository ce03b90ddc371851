/** The key pair that is this miner. It is written once, and replaced only by who asks for that: credits belong to it. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { readFileIfPresent, refuseSharedFile, writeFileAtomically } from "../../disk/atomic-file.ts";
import { FailureError } from "../../protocol/failure.ts";
import { createIdentity, type Identity, importIdentity } from "../../protocol/identity.ts";

/** Reads the identity in this state folder, or makes one. Throws `FailureError` state-corrupt, file-unreadable, disk-full. */
export function loadIdentity(folder: string): Identity {
  const known = knownIdentity(folder);
  if (known !== null) return known;
  const identity = createIdentity();
  writeFileAtomically(pathIn(folder), identity.exportPrivateKeyPem());
  return identity;
}

export interface ReplacedIdentity {
  /** Where the key that was there before lies now; null: there was none, or the same one. */
  readonly backup: string | null;
}

/**
 * Makes this the identity of the state folder, whose daemon must not run. Another one that is there is only put aside, and only with
 * `force`. Throws `FailureError`: wrong-state, and as `loadIdentity`.
 */
export function replaceIdentity(folder: string, identity: Identity, { force }: { force: boolean }): ReplacedIdentity {
  const known = knownIdentity(folder);
  if (known?.minerId === identity.minerId) return { backup: null };
  if (known !== null && !force)
    throw new FailureError("wrong-state", `${folder} holds another identity already: ${known.minerId}`, {
      action: "Export it first; then --force puts it aside and imports this one.",
    });
  const backup = known === null ? null : join(folder, `identity-${known.minerId}.pem`);
  // One of that name holds the same key.
  if (known !== null && backup !== null && !existsSync(backup))
    writeFileAtomically(backup, known.exportPrivateKeyPem());
  writeFileAtomically(pathIn(folder), identity.exportPrivateKeyPem());
  return { backup };
}

function pathIn(folder: string): string {
  return join(folder, "identity.pem");
}

function knownIdentity(folder: string): Identity | null {
  const file = pathIn(folder);
  const pem = readFileIfPresent(file);
  if (pem === null) return null;
  refuseSharedFile(file);
  try {
    return importIdentity(pem);
  } catch (cause) {
    throw new FailureError("state-corrupt", `${file} does not hold a miner's key`, {
      action:
        "Put its backup there. Or move the file away to go on as a new miner; credits of the old one stay with its key.",
      cause,
    });
  }
}
