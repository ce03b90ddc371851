import { describe, expect, it } from "vitest";
import { failureOf } from "./failure.ts";
import {
  hotkeyProofSchema,
  hotkeyStatement,
  lastDayOf,
  mustBeSignedFor,
  mustHold,
  readHotkeyClaim,
} from "./hotkey-proof.ts";
import { minerIdSchema } from "./ids.ts";

const minerId = minerIdSchema.parse("11".repeat(32));
const networkId = minerIdSchema.parse("22".repeat(32));
const stranger = minerIdSchema.parse("33".repeat(32));
/** Substrate's well-known development accounts //Alice and //Bob. */
const alice = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
const bob = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty";
/** Made by bittensor-wallet 4.1.1, `Keypair.create_from_uri("//Alice").sign(…)`: over the statement, and over it within <Bytes>. */
const plain =
  "eaa4a64912500f098b9627f74ea8424a8a80e574d59f11652db46436b920e50f985d47d30fb84c984ddb66e6c18fcc1379cbbd1368a1d42a1b55d73920109981";
const wrapped =
  "26f89a0b7a4ccb77b96e83268b7ea14eff563341932e2e1b401fc8fe3fe82f53b25d8001b5d5f50bede372a1d0973debe2976db2f1f0c273e4c280b37198db8c";
const proof = hotkeyProofSchema.parse({ address: alice, until: "2026-12-31", signature: plain, networkId });
const noonOf = (day: string) => Date.parse(`${day}T12:00:00Z`);

function failureIn(work: () => unknown): ReturnType<typeof failureOf> {
  try {
    work();
    return undefined;
  } catch (error) {
    return failureOf(error);
  }
}

describe("a proof of a hotkey", () => {
  it("is what Bittensor's wallet signs, as it is or as browsers wrap it", () => {
    expect(hotkeyStatement({ minerId, networkId, until: "2026-12-31" })).toBe(
      `Train at Home: this hotkey vouches for the miner ${minerId} on the network ${networkId} until 2026-12-31.`,
    );
    for (const signature of [plain, wrapped]) mustBeSignedFor(minerId, { ...proof, signature });
  });

  it("is of no use to another miner, hotkey, network or day, or with another signature", () => {
    const wrong = [
      () => mustBeSignedFor(stranger, proof),
      () => mustBeSignedFor(minerId, { ...proof, address: bob }),
      () => mustBeSignedFor(minerId, { ...proof, networkId: stranger }),
      () => mustBeSignedFor(minerId, { ...proof, until: "2027-01-01" }),
      () => mustBeSignedFor(minerId, { ...proof, signature: "00".repeat(64) }),
    ];
    for (const work of wrong) expect(failureIn(work)?.code).toBe("bad-signature");
  });

  it("holds on its network to the end of its last day, and for no longer than 90 days and one for clocks that differ", () => {
    const verdictOn = (day: string) => failureIn(() => mustHold(proof, { networkId, nowMs: noonOf(day) }))?.message;
    expect(verdictOn("2026-12-31")).toBeUndefined();
    expect(verdictOn("2027-01-01")).toContain("was valid until 2026-12-31");
    expect(verdictOn("2026-10-01")).toBeUndefined();
    expect(verdictOn("2026-09-30")).toContain("for longer than 90 days");
    const elsewhere = failureIn(() => mustHold(proof, { networkId: stranger, nowMs: noonOf("2026-12-01") }));
    expect(elsewhere).toMatchObject({
      code: "not-authorised",
      message: expect.stringContaining("22222222"),
      action: expect.stringContaining("tah hotkey statement"),
    });
  });

  it("is asked for 90 days", () => {
    expect(lastDayOf(noonOf("2026-10-02"))).toBe("2026-12-31");
  });
});

describe("what a person pastes as a proof", () => {
  const given = { address: alice, until: "2026-12-31", signature: plain };

  it("may have the spaces and the 0x that wallets and copying add", () => {
    expect(readHotkeyClaim({ ...given, signature: ` 0x${plain.toUpperCase()}\n`, address: `${alice} ` })).toEqual(
      given,
    );
  });

  it("is refused with what is wrong, and what to do", () => {
    expect(failureIn(() => readHotkeyClaim({ ...given, address: bob.replace("H", "J") }))?.message).toContain(
      "no SS58",
    );
    expect(failureIn(() => readHotkeyClaim({ ...given, signature: plain.slice(1) }))?.message).toContain("64 bytes");
    for (const until of ["31.12.2026", "2026-02-30", ""])
      expect(failureIn(() => readHotkeyClaim({ ...given, until }))?.message).toContain("YYYY-MM-DD");
  });

  it("is refused loudly and never repeated where it is a secret, in whichever place", () => {
    const phrase = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";
    const seed = `0x${"ab".repeat(32)}`;
    const privateKey =
      "33a6f3093f158a7109f679410bef1a0c54168145e0cecb4df006c1c2fffb1f09925a225d97aa00682d6a59b95b18780c10d7032336e88f3442b42361f4a66011";
    const keyFile = JSON.stringify({ accountId: "0x1", secretPhrase: phrase, ss58Address: alice });
    const pasted = [
      ...[phrase, `${phrase}//hotkey`, seed, keyFile].flatMap((secret) =>
        (["address", "signature", "until"] as const).map((place) => ({ ...given, [place]: secret })),
      ),
      { ...given, signature: `0x${privateKey}` },
      { ...given, address: `0x${privateKey}` },
      { ...given, signature: "bottom", address: phrase.replace("bottom ", "") },
    ];
    for (const claim of pasted) {
      const failure = failureIn(() => readHotkeyClaim(claim));
      expect(failure).toMatchObject({ code: "invalid-option", message: expect.stringContaining("STOP") });
      expect(JSON.stringify(failure)).not.toMatch(/bottom|abab|33a6f3/);
    }
  });
});
