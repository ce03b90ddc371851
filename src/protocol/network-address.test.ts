import { describe, expect, it } from "vitest";
import { failureOf } from "./failure.ts";
import { parseNetworkAddress } from "./network-address.ts";

const sha256 = "ab".repeat(32);
const key = "cd".repeat(32);

describe("a network's address", () => {
  it("is a URL, with what is not to travel behind a #", () => {
    expect(parseNetworkAddress("ws://10.0.0.1:7700")).toEqual({
      url: "ws://10.0.0.1:7700",
      invitation: null,
      networkId: null,
      certificateSha256: null,
    });
    expect(parseNetworkAddress(`wss://host:7700#invitation=A-b_9,certificate=${sha256}`)).toEqual({
      url: "wss://host:7700",
      invitation: "A-b_9",
      networkId: null,
      certificateSha256: sha256,
    });
    expect(parseNetworkAddress(`ws://10.0.0.1:7700#network=${key},invitation=A-b_9`)).toEqual({
      url: "ws://10.0.0.1:7700",
      invitation: "A-b_9",
      networkId: key,
      certificateSha256: null,
    });
  });

  it("is refused without repeating it when it is something else", () => {
    for (const text of [
      "host:7700",
      "https://host",
      "wss://host#secret",
      "wss://host#secret=1",
      "wss://host#certificate=12",
      "ws://host#network=12",
      `ws://host#certificate=${sha256}`,
      "wss://host#invitation=a b",
    ]) {
      let thrown: unknown;
      try {
        parseNetworkAddress(text);
      } catch (error) {
        thrown = error;
      }
      expect(failureOf(thrown)).toMatchObject({ code: "invalid-option" });
      expect(failureOf(thrown)?.message).not.toContain("secret=1");
    }
  });
});
