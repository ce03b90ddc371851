/** Says where this machine's key lies, why there, and whether it can be had. */
import { failureOf } from "../../protocol/failure.ts";
import { createIdentity } from "../../protocol/identity.ts";
import type { KeyPlace, KeyStores } from "../key-store/key-store.ts";
import { storedIdentity } from "./identity-file.ts";

export interface KeyReport {
  readonly ok: boolean;
  /** Null: there is no key yet, or its file cannot be read. */
  readonly place: KeyPlace | null;
  readonly detail: string;
  /** What to do where it is not ok. */
  readonly action: string;
}

/** Asks the operating system's key store where its answer matters, which may take 20 s. Makes no key. */
export async function examineKey(stateFolder: string, stores: KeyStores): Promise<KeyReport> {
  let place: KeyPlace | null = null;
  try {
    const stored = storedIdentity(stateFolder);
    if (stored === null) return fine(null, "none yet; the first start makes one");
    place = stored.place;
    await stores[place].open(stored.pem);
    return place === "os" ? fine(place, "in this computer's key store") : await examineFile(stores);
  } catch (error) {
    const failure = failureOf(error);
    if (failure === undefined) throw error;
    return { ok: false, place, detail: failure.message, action: failure.action };
  }
}

async function examineFile(stores: KeyStores): Promise<KeyReport> {
  const where = "in identity.pem, which this user alone may read";
  if (stores.choice === "file") return fine("file", `${where}, as the setting keyStore says`);
  const obstacle = (stores.choice === "auto" ? stores.obstacle : null) ?? (await trial(stores));
  return fine("file", `${where}; ${obstacle ?? "tah identity move os puts it into this computer's key store"}`);
}

/** Why the operating system's key store keeps nothing; null: it would. */
async function trial({ os }: KeyStores): Promise<string | null> {
  const identity = createIdentity();
  try {
    await os.keep(identity);
    await os.forget(identity.minerId);
    return null;
  } catch (error) {
    const failure = failureOf(error);
    if (failure === undefined) throw error;
    return failure.message;
  }
}

function fine(place: KeyPlace | null, detail: string): KeyReport {
  return { ok: true, place, detail, action: "" };
}
