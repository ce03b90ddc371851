/** What every `KeyStore` must do. Call it inside a test file with a function that opens one: each call the same, as after a restart. */
import { describe, expect, it } from "vitest";
import type { KeyStore } from "../../src/miner/key-store/key-store.ts";
import { createIdentity, exportPublicKeyPem, minerIdOfPem, verifySignature } from "../../src/protocol/identity.ts";

export function keyStoreContract(name: string, open: () => KeyStore): void {
  describe(`${name}, as a key store`, () => {
    it("gives back the key that it keeps, also to a daemon that starts later", async () => {
      const identity = createIdentity();
      const pem = await open().keep(identity);
      const later = open();
      const { minerId, sign } = await later.open(pem);
      expect(minerId).toBe(identity.minerId);
      const bytes = Buffer.from("some message");
      expect(verifySignature(minerId, bytes, sign(bytes))).toBe(true);
      await later.forget(minerId);
    });

    it("says in its text whose key it is", async () => {
      const identity = createIdentity();
      const store = open();
      expect(minerIdOfPem(await store.keep(identity))).toBe(identity.minerId);
      await store.forget(identity.minerId);
    });

    it("keeps those of several state folders apart, and forgets one alone", async () => {
      const store = open();
      const identities = [createIdentity(), createIdentity()] as const;
      const [first, second] = [await store.keep(identities[0]), await store.keep(identities[1])];
      expect((await store.open(first)).minerId).toBe(identities[0].minerId);
      await store.forget(identities[0].minerId);
      expect((await store.open(second)).minerId).toBe(identities[1].minerId);
      await store.forget(identities[1].minerId);
    });

    it("takes a key again, and forgets it again", async () => {
      const store = open();
      const identity = createIdentity();
      expect(await store.keep(identity)).toBe(await store.keep(identity));
      await store.forget(identity.minerId);
      await store.forget(identity.minerId);
    });

    it("never makes up a key that it does not have", async () => {
      const unknown = exportPublicKeyPem(createIdentity().minerId);
      await expect(open().open(unknown)).rejects.toMatchObject({ failure: { code: "state-corrupt" } });
    });
  });
}
