import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fakeHotkeyAddress, fakeHotkeyProof, signWithFakeHotkey } from "../protocol/fake-hotkey.ts";
import { createIdentity } from "../protocol/identity.ts";
import { HotkeyInForce } from "./hotkey.ts";

const networkId = createIdentity().minerId;
const [self, stranger] = [createIdentity().minerId, createIdentity().minerId];
const nowMs = Date.parse("2026-11-26T12:00:00Z");

let stateFolder: string;
let lost: string[];
beforeEach(() => {
  stateFolder = mkdtempSync(join(tmpdir(), "hotkey-"));
  lost = [];
});
afterEach(() => rmSync(stateFolder, { recursive: true }));

const open = () => new HotkeyInForce(stateFolder, self, (text) => lost.push(text));
const file = () => join(stateFolder, "hotkey.json");

/** As the hotkey's owner does it: what was stated is signed, and given with what the wallet printed. */
function signed(hotkey: HotkeyInForce) {
  const { statement, until } = hotkey.statement(networkId, nowMs);
  return { address: fakeHotkeyAddress, until, signature: `0x${signWithFakeHotkey(statement)}` };
}

describe("a miner's hotkey", () => {
  it("is the one that signed the statement, across restarts, until it is forgotten", () => {
    const hotkey = open();
    hotkey.prove(signed(hotkey), networkId, nowMs);
    expect(hotkey.view).toEqual({ address: fakeHotkeyAddress, networkId, until: "2027-02-24" });
    const restarted = open();
    expect([restarted.proof, lost]).toEqual([hotkey.proof, []]);
    restarted.forget();
    expect([restarted.view, existsSync(file()), open().view]).toEqual([null, false, null]);
  });

  it("stays what it was when a proof does not hold", () => {
    const hotkey = open();
    const claim = signed(hotkey);
    hotkey.prove(claim, networkId, nowMs);
    const before = readFileSync(file(), "utf8");
    const other = { ...claim, signature: signWithFakeHotkey("something else") };
    expect(() => hotkey.prove(other, networkId, nowMs)).toThrow("not this hotkey's");
    expect(() => hotkey.prove(claim, stranger, nowMs)).toThrow("not this hotkey's");
    expect(() => hotkey.prove(claim, networkId, Date.parse("2027-02-25"))).toThrow("was valid until 2027-02-24");
    expect([hotkey.view?.until, readFileSync(file(), "utf8")]).toEqual([claim.until, before]);
  });

  it("can be stated only for a network that is known by its key", () => {
    for (const network of [null, "home", '"; reboot; "'])
      expect(() => open().statement(network, nowMs)).toThrow("has not been connected");
  });

  it("is passed over where it is no proof, or another machine key's", () => {
    for (const content of ["", "{}", JSON.stringify(fakeHotkeyProof(stranger, networkId, nowMs))]) {
      writeFileSync(file(), content);
      expect(open().view).toBeNull();
    }
    expect(lost).toHaveLength(3);
  });
});
