import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isSr25519PrivateKey, isSr25519Signature } from "./sr25519.ts";

const bytesOf = (hex: string) => Uint8Array.from(Buffer.from(hex, "hex"));

/**
 * From the tests of @polkadot/util-crypto (polkadot-js/common, packages/util-crypto/src/signature/verify.spec.ts: SIG_SR and SIG_SR_WRAP),
 * whose signatures were made by schnorrkel in Rust; the addresses as the public keys that they stand for.
 */
const signedPlain = {
  publicKey: bytesOf("4ccb70b12eb845976ed0d08b391b1b9681e9b5858bf46b826bb85caa5395d525"),
  message: "hello world",
  signature: bytesOf(
    "ca01419b5a17219f7b78335658cab3b126db523a5df7be4bfc2bef76c2eb3b1dcf4ca86eb877d0a6cf6df12db5995c51d13b00e005d053b892bd09c594434288",
  ),
};
const signedWrapped = {
  publicKey: bytesOf("f6b21d624832094b03aa672e016462a020e217cc67b1434785b99114a2b4fa5a"),
  message: "<Bytes>hello world</Bytes>",
  signature: bytesOf(
    "84b6afb1c8e54bbcb3f4872baf172580e21310e9387a53742627d6652d121447fa406b82805ed3184fb7bd519175cc9f99f283f97954d95cf966ee164df85489",
  ),
};

const verdict = (signed: typeof signedPlain) =>
  isSr25519Signature(signed.publicKey, Buffer.from(signed.message), signed.signature);

describe("an sr25519 signature", () => {
  it("of another implementation is recognised", () => {
    expect([signedPlain, signedWrapped].map(verdict)).toEqual([true, true]);
  });

  it("is wrong over another text, or as another key's", () => {
    expect(verdict({ ...signedPlain, message: "hello World" })).toBe(false);
    expect(verdict({ ...signedPlain, publicKey: signedWrapped.publicKey })).toBe(false);
  });

  it("is wrong with any one bit turned over, in itself or in the key", () => {
    const turned = (bytes: Uint8Array, bit: number) =>
      bytes.map((byte, index) => (index === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte));
    fc.assert(
      fc.property(fc.nat(511), (bit) => {
        expect(verdict({ ...signedPlain, signature: turned(signedPlain.signature, bit) })).toBe(false);
        expect(verdict({ ...signedPlain, publicKey: turned(signedPlain.publicKey, bit & 255) })).toBe(false);
      }),
      { seed: 7, numRuns: 40 },
    );
  });

  it("is wrong, and no error, where bytes are missing, too many or none that a signature has", () => {
    for (const signature of [
      new Uint8Array(0),
      signedPlain.signature.subarray(1),
      new Uint8Array(65),
      new Uint8Array(64),
      new Uint8Array(64).fill(255),
    ])
      expect(verdict({ ...signedPlain, signature })).toBe(false);
    for (const publicKey of [new Uint8Array(0), new Uint8Array(32), new Uint8Array(32).fill(255)])
      expect(verdict({ ...signedPlain, publicKey })).toBe(false);
  });
});

describe("an sr25519 private key", () => {
  /** Substrate's well-known development account //Alice; the private key as Bittensor's wallet and as polkadot.js have it. */
  const publicKey = bytesOf("d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d");
  const nonceSeed = "925a225d97aa00682d6a59b95b18780c10d7032336e88f3442b42361f4a66011";
  const scalars = [
    "33a6f3093f158a7109f679410bef1a0c54168145e0cecb4df006c1c2fffb1f09",
    "98319d4ff8a9508c4bb0cf0b5a78d760a0b2082c02775e6e82370816fedfff48",
  ];

  it("is told from a signature, in both ways to write it", () => {
    for (const scalar of scalars) expect(isSr25519PrivateKey(bytesOf(scalar + nonceSeed), publicKey)).toBe(true);
    expect(isSr25519PrivateKey(signedPlain.signature, signedPlain.publicKey)).toBe(false);
    for (const fill of [0, 255]) expect(isSr25519PrivateKey(new Uint8Array(64).fill(fill), publicKey)).toBe(false);
  });
});
