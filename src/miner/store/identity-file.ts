/**
 * The key pair that is this miner, as `identity.pem` names it (`key-store.ts`). It is made once, and replaced only by who asks for that:
 * credits belong to it. Each change first makes sure of the key at its new place, then replaces the file, then tidies up.
 */
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { readFileIfPresent, refuseSharedFile, writeFileAtomically } from "../../disk/atomic-file.ts";
import { FailureError, failureOf } from "../../protocol/failure.ts";
import { createIdentity, type Identity, minerIdOfPem } from "../../protocol/identity.ts";
import type { MinerId } from "../../protocol/ids.ts";
import type { KeyPlace, KeyStores } from "../key-store/key-store.ts";

export interface StoredIdentity {
  readonly minerId: MinerId;
  readonly place: KeyPlace;
  /** What `identity.pem` holds. */
  readonly pem: string;
}

/** Whose key this state folder has and where it lies; null: none yet. Throws `FailureError` state-corrupt, file-unreadable. */
export function storedIdentity(folder: string): StoredIdentity | null {
  return readIdentityFile(pathIn(folder));
}

/**
 * The identity of this state folder. Where there is none, one is made; never where one is named whose key cannot be had. Rejects with
 * `FailureError`: state-corrupt, file-unreadable, disk-full; unreachable or timed-out when the key store cannot be used.
 */
export async function loadIdentity(folder: string, stores: KeyStores): Promise<Identity> {
  const stored = storedIdentity(folder);
  if (stored !== null) return stores[stored.place].open(stored.pem);
  const identity = createIdentity();
  const pem = await keepNewKey(identity, stores);
  // A key store takes its time, in which another process may have made one.
  const meanwhile = storedIdentity(folder);
  if (meanwhile !== null) {
    await stores[placeOf(pem)].forget(identity.minerId);
    return stores[meanwhile.place].open(meanwhile.pem);
  }
  writeFileAtomically(pathIn(folder), pem);
  return identity;
}

export interface ReplacedIdentity {
  /** What names the key that was there before; null: there was none, or the same one. */
  readonly backup: string | null;
}

/**
 * Makes this the identity of the state folder, whose daemon must not run. Another one that is there is only put aside, and only with
 * `force`. Rejects with `FailureError`: wrong-state, and as `loadIdentity`.
 */
export async function replaceIdentity(
  folder: string,
  identity: Identity,
  { force, stores }: { readonly force: boolean; readonly stores: KeyStores },
): Promise<ReplacedIdentity> {
  const known = storedIdentity(folder);
  const other = known?.minerId === identity.minerId ? null : known;
  if (other !== null && !force)
    throw new FailureError("wrong-state", `${folder} holds another identity already: ${other.minerId}`, {
      action: "Export it first; then --force puts it aside and imports this one.",
    });
  // Also where it is the same one: a key store may have lost it.
  const pem = await keepNewKey(identity, stores);
  const backup = other === null ? null : putAside(folder, other);
  writeFileAtomically(pathIn(folder), pem);
  return { backup };
}

export interface MovedIdentity {
  readonly minerId: MinerId;
  /** Why a copy of the key is still where it was; null: none is. */
  readonly leftBehind: string | null;
}

/**
 * Moves the key of this state folder, whose daemon must not run. Rejects with `FailureError`: not-found when there is none, and as
 * `loadIdentity`; then it is where it was.
 */
export async function moveIdentity(folder: string, to: KeyPlace, stores: KeyStores): Promise<MovedIdentity> {
  const stored = storedIdentity(folder);
  if (stored === null)
    throw new FailureError("not-found", `${folder} has no identity yet`, {
      action: "The first start makes one, where --key-store says.",
    });
  const { minerId, place } = stored;
  if (place === to) return { minerId, leftBehind: null };
  const pem = await stores[to].keep(await stores[place].open(stored.pem));
  writeFileAtomically(pathIn(folder), pem);
  // Only what can be read again takes the other's place.
  if (storedIdentity(folder)?.pem !== pem)
    throw new FailureError("file-unreadable", `${pathIn(folder)} does not hold what was written to it`);
  removeDrafts(folder);
  try {
    await stores[place].forget(minerId);
    return { minerId, leftBehind: null };
  } catch (error) {
    const failure = failureOf(error);
    if (failure === undefined) throw error;
    return { minerId, leftBehind: failure.message };
  }
}

/** Returns what `identity.pem` shall hold. */
async function keepNewKey(identity: Identity, stores: KeyStores): Promise<string> {
  const { choice, obstacle } = stores;
  if (choice === "file" || (choice === "auto" && obstacle !== null)) return stores.file.keep(identity);
  try {
    return await stores.os.keep(identity);
  } catch (error) {
    if (choice === "os" || failureOf(error) === undefined) throw error;
    return stores.file.keep(identity);
  }
}

/** Returns the file's path. */
function putAside(folder: string, { minerId, pem }: StoredIdentity): string {
  const file = join(folder, `identity-${minerId}.pem`);
  const known = readIdentityFile(file);
  if (known !== null && known.minerId !== minerId)
    throw new FailureError("state-corrupt", `${file} holds another key than its name says`, {
      action: "Move it out of this folder; it may be worth something.",
    });
  // A private key is more than the name of an entry in a key store.
  if (known?.place !== "file") writeFileAtomically(file, pem);
  return file;
}

/** What a process that ended while it wrote `identity.pem` left beside it may be a private key. */
function removeDrafts(folder: string): void {
  for (const name of readdirSync(folder))
    if (/^identity\.pem\.\d+\.new$/.test(name)) rmSync(join(folder, name), { force: true });
}

function pathIn(folder: string): string {
  return join(folder, "identity.pem");
}

function readIdentityFile(file: string): StoredIdentity | null {
  const pem = readFileIfPresent(file);
  if (pem === null) return null;
  const place = placeOf(pem);
  if (place === "file") refuseSharedFile(file);
  try {
    return { minerId: minerIdOfPem(pem), place, pem };
  } catch (cause) {
    throw new FailureError("state-corrupt", `${file} does not hold a miner's key`, {
      action:
        "Put its backup there. Or move the file away to go on as a new miner; credits of the old one stay with its key.",
      cause,
    });
  }
}

function placeOf(identityPem: string): KeyPlace {
  return identityPem.startsWith("-----BEGIN PUBLIC KEY-----") ? "os" : "file";
}
