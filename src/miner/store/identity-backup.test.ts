import { describe, expect, it } from "vitest";
import { failureOf } from "../../protocol/failure.ts";
import { createIdentity } from "../../protocol/identity.ts";
import { openIdentity, sealIdentity } from "./identity-backup.ts";

const passphrase = "correct horse battery";

function codeOf(work: () => unknown): string | undefined {
  try {
    work();
  } catch (error) {
    return failureOf(error)?.code;
  }
  return undefined;
}

/** Each opening and sealing costs what the format asks for. */
describe("an exported identity", { timeout: 120_000 }, () => {
  const identity = createIdentity();
  const backup = sealIdentity(identity, passphrase);

  it("is opened by its passphrase, however its letters are composed, and by no other", () => {
    expect(openIdentity(backup, passphrase).exportPrivateKeyPem()).toBe(identity.exportPrivateKeyPem());
    const composed = sealIdentity(identity, "zwölf Boxkämpfer".normalize("NFC"));
    expect(openIdentity(composed, "zwölf Boxkämpfer".normalize("NFD")).minerId).toBe(identity.minerId);
    expect(codeOf(() => openIdentity(backup, "correct horse batterY"))).toBe("not-authorised");
  });

  it("says whose it is, and nothing about the key itself", () => {
    expect(backup).toContain(identity.minerId);
    expect(backup).not.toContain(identity.exportPrivateKeyPem().split("\n")[1]);
    expect(sealIdentity(identity, passphrase)).not.toBe(backup);
  });

  it("does not open when anything in it was changed", () => {
    const other = createIdentity().minerId;
    const changed = JSON.parse(backup) as Record<string, string>;
    const spoilt = { ...changed, sealedKey: `AAAA${changed.sealedKey?.slice(4)}` };
    for (const one of [{ ...changed, minerId: other }, spoilt])
      expect(codeOf(() => openIdentity(JSON.stringify(one), passphrase))).toBe("not-authorised");
    for (const one of [{ ...changed, salt: "" }, { ...changed, format: "other" }, { ...changed, n: 2 ** 30 }, [], null])
      expect(codeOf(() => openIdentity(JSON.stringify(one), passphrase))).toBe("file-unreadable");
  });

  it("is not made with a passphrase that protects nothing", () => {
    expect(codeOf(() => sealIdentity(identity, "short"))).toBe("invalid-option");
  });
});
