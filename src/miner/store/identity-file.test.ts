import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeOsSecrets } from "../../../test/contract/fake-os-secrets.ts";
import { FailureError } from "../../protocol/failure.ts";
import { createIdentity, exportPublicKeyPem } from "../../protocol/identity.ts";
import { FileKeyStore } from "../key-store/file-key-store.ts";
import type { KeyPlace, KeyStore, KeyStores } from "../key-store/key-store.ts";
import { OsKeyStore } from "../key-store/os-key-store.ts";
import { examineKey } from "./examine-key.ts";
import { loadIdentity, moveIdentity, replaceIdentity, storedIdentity } from "./identity-file.ts";

let folder: string;
let secrets: FakeOsSecrets;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tah-identity-"));
  secrets = new FakeOsSecrets();
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const locked = new FailureError("unreachable", "the key store is locked", { action: "Unlock it.", retry: true });
const failing = (code: string) => ({ failure: expect.objectContaining({ code }) });
const fileText = () => readFileSync(join(folder, "identity.pem"), "utf8");
const writtenHere = () =>
  readdirSync(folder)
    .map((name) => readFileSync(join(folder, name), "utf8"))
    .join("");

function stores(changes: Partial<KeyStores> = {}): KeyStores {
  return { choice: "auto", obstacle: null, os: new OsKeyStore(secrets), file: new FileKeyStore(), ...changes };
}

describe("a new identity", () => {
  it("goes to the operating system's key store, and a copy of its state folder is worth nothing", async () => {
    const { minerId } = await loadIdentity(folder, stores());
    expect(fileText()).toBe(exportPublicKeyPem(minerId));
    expect(writtenHere()).not.toContain("PRIVATE");
    expect((await loadIdentity(folder, stores())).minerId).toBe(minerId);
    expect([...secrets.entries.keys()]).toEqual([minerId]);
    secrets.entries.clear(); // another computer
    await expect(loadIdentity(folder, stores())).rejects.toMatchObject(failing("state-corrupt"));
  });

  it.each([
    ["is told to be in the file", () => stores({ choice: "file" })],
    ["may be needed while nobody is there", () => stores({ obstacle: "no desktop is in use here" })],
    [
      "finds the key store locked",
      () => {
        secrets.failure = locked;
        return stores();
      },
    ],
    [
      "finds a key store that keeps nothing",
      () => {
        secrets.forgetful = true;
        return stores();
      },
    ],
  ])("goes to the file where it %s", async (_where, made) => {
    const { minerId } = await loadIdentity(folder, made());
    expect(storedIdentity(folder)).toMatchObject({ minerId, place: "file" });
    expect(secrets.entries.size).toBe(0);
    secrets.failure = locked; // matters to it no more
    expect((await loadIdentity(folder, stores())).minerId).toBe(minerId);
  });

  it("is not made at all where the key store is asked for and cannot be used", async () => {
    secrets.failure = locked;
    await expect(loadIdentity(folder, stores({ choice: "os" }))).rejects.toMatchObject(failing("unreachable"));
    expect(readdirSync(folder)).toEqual([]);
  });

  it("is one, where two processes make it at a time", async () => {
    const [first, second] = await Promise.all([loadIdentity(folder, stores()), loadIdentity(folder, stores())]);
    expect(first.minerId).toBe(second.minerId);
    expect(storedIdentity(folder)?.minerId).toBe(first.minerId);
    expect([...secrets.entries.keys()]).toEqual([first.minerId]);
  });
});

describe("an identity in the operating system's key store", () => {
  it.each([
    [
      "locked",
      "unreachable",
      () => {
        secrets.failure = locked;
      },
    ],
    ["emptied", "state-corrupt", () => secrets.entries.clear()],
    [
      "made to hold another key",
      "state-corrupt",
      () => {
        for (const account of secrets.entries.keys())
          secrets.entries.set(account, createIdentity().exportPrivateKeyPem());
      },
    ],
    [
      "made to hold something else",
      "state-corrupt",
      () => {
        for (const account of secrets.entries.keys()) secrets.entries.set(account, "a secret of somebody else");
      },
    ],
  ])("is refused and never replaced while that is %s", async (_how, code, spoil) => {
    const { minerId } = await loadIdentity(folder, stores());
    const before = fileText();
    const kept = new Map(secrets.entries);
    spoil();
    const refused = await loadIdentity(folder, stores()).catch((error: unknown) => error);
    expect(refused).toMatchObject(failing(code));
    expect(String(refused)).not.toContain("somebody else");
    expect(await examineKey(folder, stores())).toMatchObject({
      ok: false,
      place: "os",
      action: expect.stringMatching(/./),
    });
    expect([fileText(), storedIdentity(folder)?.minerId]).toEqual([before, minerId]);
    secrets.failure = null;
    for (const [account, secret] of kept) secrets.entries.set(account, secret);
    expect((await loadIdentity(folder, stores())).minerId).toBe(minerId);
  });

  it("comes back from its backup when the key store has lost it, without force", async () => {
    const identity = await loadIdentity(folder, stores());
    secrets.entries.clear();
    expect(await replaceIdentity(folder, identity, { force: false, stores: stores() })).toEqual({ backup: null });
    expect((await loadIdentity(folder, stores())).minerId).toBe(identity.minerId);
  });

  it("is put aside by name, and its key stays where it is", async () => {
    const old = await loadIdentity(folder, stores());
    const imported = createIdentity();
    await expect(replaceIdentity(folder, imported, { force: false, stores: stores() })).rejects.toMatchObject(
      failing("wrong-state"),
    );
    const { backup } = await replaceIdentity(folder, imported, { force: true, stores: stores() });
    expect((await loadIdentity(folder, stores())).minerId).toBe(imported.minerId);
    writeFileSync(join(folder, "identity.pem"), readFileSync(backup ?? ""));
    expect((await loadIdentity(folder, stores())).minerId).toBe(old.minerId);
  });
});

it("never lets a name take the place of a private key that was put aside", async () => {
  const old = await loadIdentity(folder, stores({ choice: "file" }));
  const put = (identity = createIdentity()) => replaceIdentity(folder, identity, { force: true, stores: stores() });
  const { backup } = await put();
  await put(old);
  expect(storedIdentity(folder)).toMatchObject({ minerId: old.minerId, place: "os" });
  expect((await put()).backup).toBe(backup);
  expect(readFileSync(backup ?? "", "utf8")).toBe(old.exportPrivateKeyPem());
});

it("is not put aside over a key of somebody else that was given its name", async () => {
  const { minerId } = await loadIdentity(folder, stores({ choice: "file" }));
  const before = fileText();
  const misnamed = join(folder, `identity-${minerId}.pem`);
  const foreign = createIdentity().exportPrivateKeyPem();
  writeFileSync(misnamed, foreign, { mode: 0o600 });
  await expect(replaceIdentity(folder, createIdentity(), { force: true, stores: stores() })).rejects.toMatchObject(
    failing("state-corrupt"),
  );
  expect([fileText(), readFileSync(misnamed, "utf8")]).toEqual([before, foreign]);
});

describe("moving an identity", () => {
  it("leaves no private key behind, either way", async () => {
    const { minerId } = await loadIdentity(folder, stores({ choice: "file" }));
    expect(await moveIdentity(folder, "os", stores())).toEqual({ minerId, leftBehind: null });
    expect(writtenHere()).not.toContain("PRIVATE");
    expect((await loadIdentity(folder, stores())).minerId).toBe(minerId);
    await moveIdentity(folder, "file", stores());
    expect(secrets.entries.size).toBe(0);
    expect((await loadIdentity(folder, stores())).minerId).toBe(minerId);
    expect(await moveIdentity(folder, "file", stores())).toEqual({ minerId, leftBehind: null });
  });

  it("takes away what a process that was killed while it wrote the key left of it", async () => {
    const { minerId } = await loadIdentity(folder, stores({ choice: "file" }));
    writeFileSync(join(folder, "identity.pem.4711.new"), fileText());
    await moveIdentity(folder, "os", stores());
    expect(readdirSync(folder)).toEqual(["identity.pem"]);
    expect((await loadIdentity(folder, stores())).minerId).toBe(minerId);
  });

  it("changes nothing where the key store refuses, and says where there is nothing to move", async () => {
    await expect(moveIdentity(folder, "os", stores())).rejects.toMatchObject(failing("not-found"));
    await loadIdentity(folder, stores({ choice: "file" }));
    const before = fileText();
    secrets.forgetful = true;
    await expect(moveIdentity(folder, "os", stores())).rejects.toMatchObject(failing("state-corrupt"));
    expect(fileText()).toBe(before);
  });

  it("says what it could not take away", async () => {
    await loadIdentity(folder, stores());
    const os = new OsKeyStore(secrets);
    const stuck: KeyStore = { keep: os.keep.bind(os), open: os.open.bind(os), forget: () => Promise.reject(locked) };
    expect(await moveIdentity(folder, "file", stores({ os: stuck }))).toMatchObject({ leftBehind: locked.message });
    expect(storedIdentity(folder)?.place).toBe("file");
  });

  const places: readonly KeyPlace[] = ["os", "file"];
  it.each(places)("to %s loses nothing, and can be done again, wherever it breaks off", async (to) => {
    const from: KeyPlace = to === "os" ? "file" : "os";
    for (let lastStep = 0; ; lastStep++) {
      rmSync(join(folder, "identity.pem"), { force: true });
      const { minerId } = await loadIdentity(folder, stores({ choice: from }));
      const finished = await moveIdentity(folder, to, breakingOffAfter(lastStep)).then(() => true, onlyPowerCut);
      expect((await loadIdentity(folder, stores())).minerId).toBe(minerId);
      await moveIdentity(folder, to, stores());
      expect(storedIdentity(folder)).toMatchObject({ minerId, place: to });
      expect((await loadIdentity(folder, stores())).minerId).toBe(minerId);
      if (finished) return expect(lastStep).toBeGreaterThanOrEqual(3);
    }
  });

  it("replaces an identity only once the new one is kept, wherever that breaks off", async () => {
    const old = await loadIdentity(folder, stores());
    const imported = createIdentity();
    const replace = (with_: KeyStores) => replaceIdentity(folder, imported, { force: true, stores: with_ });
    for (const lastStep of [0, 1]) {
      await replace(breakingOffAfter(lastStep)).catch(onlyPowerCut);
      const now = await loadIdentity(folder, stores());
      expect([old.minerId, imported.minerId]).toContain(now.minerId);
    }
    await replace(stores());
    expect((await loadIdentity(folder, stores())).minerId).toBe(imported.minerId);
  });
});

/** Key stores whose process ends when it has done so many steps. */
function breakingOffAfter(steps: number): KeyStores {
  let done = 0;
  const step = <T>(work: () => Promise<T>): Promise<T> => (done++ >= steps ? Promise.reject(new PowerCut()) : work());
  const fragile = (store: KeyStore): KeyStore => ({
    keep: (identity) => step(() => store.keep(identity)),
    open: (pem) => step(() => store.open(pem)),
    forget: (minerId) => step(() => store.forget(minerId)),
  });
  const { os, file, ...rest } = stores();
  return { ...rest, os: fragile(os), file: fragile(file) };
}

class PowerCut extends Error {}

function onlyPowerCut(error: unknown): false {
  if (error instanceof PowerCut) return false;
  throw error;
}

describe("where a key lies", () => {
  it("is said with the reason", async () => {
    expect(await examineKey(folder, stores())).toMatchObject({ ok: true, place: null });
    await loadIdentity(folder, stores({ choice: "file" }));
    const detail = async (changes: Partial<KeyStores>) => (await examineKey(folder, stores(changes))).detail;
    expect(await detail({ choice: "file" })).toContain("as the setting keyStore says");
    expect(await detail({ obstacle: "no desktop is in use here" })).toContain("no desktop is in use here");
    expect(await detail({})).toContain("tah identity move os");
    secrets.failure = locked;
    expect(await detail({})).toContain("the key store is locked");
    secrets.failure = null;
    await moveIdentity(folder, "os", stores());
    expect(await examineKey(folder, stores())).toMatchObject({ ok: true, place: "os" });
    expect(secrets.entries.size).toBe(1); // nothing of the trials stays
  });
});
