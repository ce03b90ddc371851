/**
 * Where a miner's private key lies. `identity.pem` of the state folder says which key it is and where: it holds the private key
 * itself, or only the public one, and then the private key lies in the operating system's key store under that name. One file, so
 * that replacing it is the one step that moves or replaces a key.
 */
import { z } from "zod";
import type { Identity } from "../../protocol/identity.ts";
import type { MinerId } from "../../protocol/ids.ts";

/** `os`: the operating system's key store. `file`: `identity.pem`, which only its user may read. */
export const keyPlaceSchema = z.enum(["os", "file"]);
export type KeyPlace = z.infer<typeof keyPlaceSchema>;

/** Of a new key. `auto`: the operating system's key store where a daemon can open it without a person, else the file. */
export const keyStoreChoiceSchema = z.enum(["auto", ...keyPlaceSchema.options]);
export type KeyStoreChoice = z.infer<typeof keyStoreChoiceSchema>;

export interface KeyStore {
  /**
   * Takes a key in, or again, and returns what `identity.pem` shall hold from now on. In the operating system's store the key is
   * there, and was read back, when this resolves. Rejects with `FailureError`: unreachable, timed-out, state-corrupt.
   */
  keep(identity: Identity): Promise<string>;
  /**
   * The identity of such a text. Rejects with `FailureError`: state-corrupt when its key is gone or is another one; unreachable,
   * timed-out.
   */
  open(identityPem: string): Promise<Identity>;
  /** Forgets a key that no `identity.pem` stands for any more, if it is there. Rejects with `FailureError`: unreachable, timed-out. */
  forget(minerId: MinerId): Promise<void>;
}

/** A store for each place, and what a new key is kept by. */
export interface KeyStores extends Readonly<Record<KeyPlace, KeyStore>> {
  readonly choice: KeyStoreChoice;
  /** Why the operating system's key store may be locked when the daemon starts, as far as can be seen without asking it; null: it may not. */
  readonly obstacle: string | null;
}
