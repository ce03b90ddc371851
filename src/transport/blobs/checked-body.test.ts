import { describe, expect, it } from "vitest";
import { hashBytes } from "../../protocol/identity.ts";
import { checkedBody } from "./checked-body.ts";

describe("the body of an upload", () => {
  const bytes = Uint8Array.from({ length: 700_000 }, (_, index) => (index * 7919) >> 3);
  const ref = { hash: hashBytes(bytes), bytes: bytes.length };

  it("gives pieces as small as the link takes, and reads the disk far less often", async () => {
    const reads: number[] = [];
    const body = checkedBody(ref, {
      bytes: bytes.length,
      async read(offset, length) {
        reads.push(length);
        return bytes.subarray(offset, offset + length);
      },
    });
    const pieces: Uint8Array[] = [];
    for (let given = 0; given < body.bytes; given += pieces.at(-1)?.length ?? 0) pieces.push(await body.next(16_384));
    expect(Math.max(...pieces.map(({ length }) => length))).toBe(16_384);
    expect(Buffer.concat(pieces).equals(bytes)).toBe(true);
    expect(reads).toEqual([262_144, 262_144, 175_712]);
  });

  it("does not give its end when what lies on the disk has another hash", async () => {
    const body = checkedBody(ref, {
      bytes: bytes.length,
      read: async (offset, length) => bytes.subarray(offset, offset + length).map((byte) => byte ^ 1),
    });
    await body.next(262_144);
    await body.next(262_144);
    await expect(body.next(16_384)).rejects.toMatchObject({ failure: { code: "blob-not-found" } });
  });
});
