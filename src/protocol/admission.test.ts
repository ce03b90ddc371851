import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { invitationToken, isWorkDone, maximumUses, readInvitation, workSolution } from "./admission.ts";
import { createIdentity } from "./identity.ts";

const network = createIdentity();

describe("an invitation", () => {
  it("says the same to the network that signed it, and nothing to another", () => {
    const id = fc.uint8Array({ minLength: 8, maxLength: 8 }).map((bytes) => Buffer.from(bytes).toString("hex"));
    const invitations = fc.record({
      id,
      uses: fc.integer({ min: 1, max: maximumUses }),
      expiresAtSeconds: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    });
    fc.assert(
      fc.property(invitations, (invitation) => {
        const token = invitationToken(invitation, network);
        expect(readInvitation(token, network.minerId)).toEqual(invitation);
        expect(readInvitation(token, createIdentity().minerId)).toBeNull();
      }),
      { seed: 3, numRuns: 30 },
    );
  });

  it("is none with any byte changed, nor is any other text", () => {
    const token = invitationToken({ id: "00".repeat(8), uses: 1, expiresAtSeconds: 1 }, network);
    const bytes = Buffer.from(token, "base64url");
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes);
      changed.writeUInt8(changed.readUInt8(at) ^ 1, at);
      expect(readInvitation(changed.toString("base64url"), network.minerId)).toBeNull();
    }
    fc.assert(
      fc.property(fc.string(), (text) => readInvitation(text, network.minerId) === null),
      { seed: 4 },
    );
    expect(readInvitation(token, "no key")).toBeNull();
  });
});

describe("work", () => {
  it("is done for one network, one key and so many bits", () => {
    const { minerId } = createIdentity();
    const bits = 10;
    let number = 0;
    while (!isWorkDone(network.minerId, minerId, workSolution(number), bits)) number += 1;
    const solution = workSolution(number);
    expect(isWorkDone(network.minerId, minerId, solution, 1)).toBe(true);
    const others = Array.from({ length: 8 }, () => createIdentity().minerId);
    expect(others.every((other) => isWorkDone(network.minerId, other, solution, bits))).toBe(false);
    expect(others.every((other) => isWorkDone(other, minerId, solution, bits))).toBe(false);
  });
});
