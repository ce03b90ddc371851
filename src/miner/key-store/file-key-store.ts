/** Private keys in `identity.pem` itself. */
import { FailureError } from "../../protocol/failure.ts";
import { type Identity, importIdentity } from "../../protocol/identity.ts";
import type { KeyStore } from "./key-store.ts";

export class FileKeyStore implements KeyStore {
  async keep(identity: Identity): Promise<string> {
    return identity.exportPrivateKeyPem();
  }

  async open(identityPem: string): Promise<Identity> {
    try {
      return importIdentity(identityPem);
    } catch (cause) {
      throw new FailureError("state-corrupt", "identity.pem does not hold a miner's private key", { cause });
    }
  }

  /** The key was in the file that has been replaced. */
  async forget(): Promise<void> {}
}
