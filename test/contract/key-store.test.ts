import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FileKeyStore } from "../../src/miner/key-store/file-key-store.ts";
import { OsKeyStore } from "../../src/miner/key-store/os-key-store.ts";
import { OsSecretsProcess } from "../../src/miner/key-store/os-secrets.ts";
import { createIdentity } from "../../src/protocol/identity.ts";
import { FakeOsSecrets } from "./fake-os-secrets.ts";
import { keyStoreContract } from "./key-store.ts";
import { SecretService, secretServiceMissing } from "./secret-service.ts";

keyStoreContract("the file", () => new FileKeyStore());

const secrets = new FakeOsSecrets();
keyStoreContract("the operating system's key store on a fake", () => new OsKeyStore(secrets));

const named = (name: string) =>
  secretServiceMissing === undefined ? name : `${name} (skipped: ${secretServiceMissing})`;

describe.skipIf(secretServiceMissing !== undefined)(named("Linux's Secret Service"), () => {
  const service = new SecretService();
  const open = () => new OsKeyStore(new OsSecretsProcess({ environment: service.environment }));
  beforeAll(() => service.startUnlocked());
  afterAll(() => service.close());

  keyStoreContract("GNOME's keyring", open);

  it("holds what it keeps across a restart, and gives nothing away before somebody has logged in", async () => {
    const pem = await open().keep(createIdentity());
    await service.startLocked();
    await expect(open().open(pem)).rejects.toMatchObject({
      failure: { code: "unreachable", retry: true, action: expect.stringContaining("unlock its keyring") },
    });
    await expect(open().keep(createIdentity())).rejects.toMatchObject({ failure: { code: "unreachable" } });
    await service.startUnlocked();
    expect(await open().open(pem)).toBeDefined();
  });
});

/** On macOS and Windows, where there is no other than this user's own; it is left as it was. */
const ownIsAskedFor = process.env.REQUIRE_KEY_STORE === "1" && process.platform !== "linux";
describe.skipIf(!ownIsAskedFor)("this computer's own key store (with REQUIRE_KEY_STORE=1 on macOS and Windows)", () => {
  keyStoreContract("Keychain or Credential Manager", () => new OsKeyStore(new OsSecretsProcess()));
});
