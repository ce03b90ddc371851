/** The network's own key, which signs receipts and is its name. */
import { readFileIfPresent, writeFileAtomically } from "../disk/atomic-file.ts";
import { FailureError } from "../protocol/failure.ts";
import { createIdentity, type Identity, importIdentity } from "../protocol/identity.ts";

/** Reads it, or makes one. Throws `FailureError`: state-corrupt, file-unreadable, disk-full. */
export function networkIdentity(path: string): Identity {
  const pem = readFileIfPresent(path);
  if (pem === null) {
    const identity = createIdentity();
    writeFileAtomically(path, identity.exportPrivateKeyPem());
    return identity;
  }
  try {
    return importIdentity(pem);
  } catch (cause) {
    throw new FailureError("state-corrupt", `${path} is not the network's key.`, {
      action: "Restore it from a backup, or move it away to get a new one.",
      cause,
    });
  }
}
