/** Private keys in the operating system's key store, one entry for each miner; `identity.pem` holds the public key. */
import { FailureError } from "../../protocol/failure.ts";
import { exportPublicKeyPem, type Identity, importIdentity, minerIdOfPem } from "../../protocol/identity.ts";
import type { MinerId } from "../../protocol/ids.ts";
import type { KeyStore } from "./key-store.ts";
import type { OsSecrets } from "./os-secrets.ts";

export class OsKeyStore implements KeyStore {
  readonly #secrets: OsSecrets;

  constructor(secrets: OsSecrets) {
    this.#secrets = secrets;
  }

  async keep(identity: Identity): Promise<string> {
    await this.#secrets.write(identity.minerId, identity.exportPrivateKeyPem());
    // Some stores take what they lose again, for example where nobody has set one up.
    const identityPem = exportPublicKeyPem(identity.minerId);
    await this.open(identityPem);
    return identityPem;
  }

  async open(identityPem: string): Promise<Identity> {
    const minerId = minerIdOfPem(identityPem);
    const privateKeyPem = await this.#secrets.read(minerId);
    if (privateKeyPem === null) throw lostKey(`this computer's key store holds no key of ${minerId}`);
    const identity = importedFrom(privateKeyPem);
    if (identity?.minerId !== minerId)
      throw lostKey(`what this computer's key store holds for ${minerId} is not its key`);
    return identity;
  }

  async forget(minerId: MinerId): Promise<void> {
    await this.#secrets.remove(minerId);
  }
}

function importedFrom(privateKeyPem: string): Identity | null {
  try {
    return importIdentity(privateKeyPem);
  } catch {
    return null; // an error's text could repeat what is in there
  }
}

function lostKey(message: string): FailureError {
  return new FailureError("state-corrupt", message, {
    action:
      "Bring its backup: tah identity import FILE. Or move identity.pem away to go on as a new miner; credits stay with the old one's key.",
  });
}
