/** The key pair that is this miner. It is written once and never replaced by the program: credits belong to it. */
import { statSync } from "node:fs";
import { join } from "node:path";
import { readFileIfPresent, writeFileAtomically } from "../../disk/atomic-file.ts";
import { FailureError } from "../../protocol/failure.ts";
import { createIdentity, type Identity, importIdentity } from "../../protocol/identity.ts";

/** Reads the identity in this state folder, or makes one. Throws `FailureError` state-corrupt, file-unreadable, disk-full. */
export function loadIdentity(folder: string): Identity {
  const file = join(folder, "identity.pem");
  const pem = readFileIfPresent(file);
  if (pem === null) {
    const identity = createIdentity();
    writeFileAtomically(file, identity.exportPrivateKeyPem());
    return identity;
  }
  refuseSharedKey(file);
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

function refuseSharedKey(file: string): void {
  // Windows keeps rights in access lists, and the folder is the user's own.
  if (process.platform === "win32") return;
  const mode = statSync(file).mode & 0o777;
  if ((mode & 0o077) !== 0)
    throw new FailureError(
      "state-corrupt",
      `${file} can be read by others on this computer (mode ${mode.toString(8)})`,
      {
        action: `Make it yours alone: chmod 600 '${file}'.`,
      },
    );
}
