/** The network's own key, which signs receipts and invitations and is its name. */
import { join } from "node:path";
import { readFileIfPresent, refuseSharedFile, writeFileAtomically } from "../disk/atomic-file.ts";
import { FailureError } from "../protocol/failure.ts";
import { createIdentity, type Identity, importIdentity } from "../protocol/identity.ts";

/** Reads it, or makes one. Throws `FailureError`: state-corrupt, file-unreadable, disk-full. */
export function networkIdentity(stateFolder: string): Identity {
  const known = knownIdentity(stateFolder);
  if (known !== null) return known;
  const identity = createIdentity();
  writeFileAtomically(pathIn(stateFolder), identity.exportPrivateKeyPem());
  return identity;
}

/** Of a network that has been served before. Throws `FailureError`: not-found, state-corrupt, file-unreadable. */
export function existingNetworkIdentity(stateFolder: string): Identity {
  const known = knownIdentity(stateFolder);
  if (known !== null) return known;
  throw new FailureError("not-found", `There is no network in ${stateFolder}.`, {
    action:
      "Serve it first by tah network serve, or name its --state folder; this works on the computer that serves it.",
  });
}

function knownIdentity(stateFolder: string): Identity | null {
  const path = pathIn(stateFolder);
  const pem = readFileIfPresent(path);
  if (pem === null) return null;
  refuseSharedFile(path);
  try {
    return importIdentity(pem);
  } catch (cause) {
    throw new FailureError("state-corrupt", `${path} is not the network's key.`, {
      action: "Restore it from a backup, or move it away to get a new one.",
      cause,
    });
  }
}

function pathIn(stateFolder: string): string {
  return join(stateFolder, "network-key.pem");
}
