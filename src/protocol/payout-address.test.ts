import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { failureOf } from "./failure.ts";
import { readPayoutAddress } from "./payout-address.ts";

/** Substrate's well-known development account, as Bittensor and as Polkadot write it. */
const address = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
const polkadotAddress = "15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5";

function refusalOf(text: string): string | undefined {
  try {
    readPayoutAddress(text);
    return undefined;
  } catch (error) {
    return failureOf(error)?.message;
  }
}

describe("a payout address", () => {
  it("is taken as it is in a wallet, with the spaces that copying adds", () => {
    expect(readPayoutAddress(` ${address}\n`)).toBe(address);
  });

  it("is refused with any one letter changed, left out or added, and as another network writes it", () => {
    fc.assert(
      fc.property(fc.nat(address.length - 1), fc.constantFrom("", "1", "A", "0", "zz"), (at, letters) => {
        const changed = `${address.slice(0, at)}${letters}${address.slice(at + 1)}`;
        fc.pre(changed !== address);
        expect(refusalOf(changed)).toContain("no SS58 address");
      }),
      { seed: 7 },
    );
    for (const other of [polkadotAddress, "", "5", `1${address}`])
      expect(refusalOf(other)).toContain("no SS58 address");
  });
});

describe("what protects money", () => {
  const phrase = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";
  const secrets = [
    phrase,
    `${phrase} ${phrase}`,
    phrase.toUpperCase().replaceAll(" ", "\n"),
    "e5be9a5092b81bca64be81d212e7f2f9eba183bb7a90954f7b76361f6edb5c0a",
    `0x${"AB".repeat(32)}`,
    `0x${"AB".repeat(64)}`,
    `${phrase}//hotkey`,
    `my phrase, ${phrase}`,
    `{"secretSeed":"0x01","ss58Address":"${address}"}`,
    `{"encoded":"AAAA","address":"${address}"}`,
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----",
  ];

  it("is refused loudly and never repeated", () => {
    for (const secret of secrets) {
      const refusal = refusalOf(secret);
      expect(refusal).toContain("STOP");
      expect(refusal).not.toContain(secret);
    }
  });
});
