import { describe, expect, test } from "vitest";
import {
  bytesOf,
  createIdentity,
  floatsOf,
  hashBytes,
  importIdentity,
  sessionProof,
  verifySignature,
} from "./identity.ts";
import type { MinerId } from "./ids.ts";

const nonce = new Uint8Array(32).fill(7);

describe("an identity", () => {
  test("survives export and import", () => {
    const identity = createIdentity();
    expect(importIdentity(identity.exportPrivateKeyPem()).minerId).toBe(identity.minerId);
  });

  test("signs what only its own key verifies", () => {
    const [alice, bob] = [createIdentity(), createIdentity()];
    const proof = sessionProof(nonce, "home", "miner");
    const signature = alice.sign(proof);
    expect(verifySignature(alice.minerId, proof, signature)).toBe(true);
    expect(verifySignature(bob.minerId, proof, signature)).toBe(false);
  });

  test("proves a session for one nonce, one network and one role only", () => {
    const identity = createIdentity();
    const signature = identity.sign(sessionProof(nonce, "home", "observer"));
    for (const other of [
      sessionProof(nonce, "home", "miner"),
      sessionProof(nonce, "away", "observer"),
      sessionProof(new Uint8Array(32), "home", "observer"),
    ])
      expect(verifySignature(identity.minerId, other, signature)).toBe(false);
  });

  test("takes malformed keys and signatures for wrong ones", () => {
    const notOnTheCurve = "ff".repeat(32) as MinerId;
    expect(verifySignature(notOnTheCurve, nonce, new Uint8Array(64))).toBe(false);
    expect(verifySignature(createIdentity().minerId, nonce, new Uint8Array(3))).toBe(false);
  });
});

describe("bytes and values", () => {
  test("are two views of the same memory", () => {
    const values = Float32Array.of(1, -2, 3.5);
    expect(floatsOf(bytesOf(values)).buffer).toBe(values.buffer);
  });

  test("are copied when they are not aligned", () => {
    const bytes = new Uint8Array(9);
    bytes.set(bytesOf(Float32Array.of(1.5, 2.5)), 1);
    expect([...floatsOf(bytes.subarray(1))]).toEqual([1.5, 2.5]);
  });

  test("must be a whole number of values", () => {
    expect(() => floatsOf(new Uint8Array(6))).toThrow(RangeError);
  });

  test("are named by their SHA-256", () => {
    expect(hashBytes(new Uint8Array())).toBe("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  });
});
