import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fakeHotkeyAddress, fakeHotkeyProof } from "../protocol/fake-hotkey.ts";
import { createIdentity } from "../protocol/identity.ts";
import type { MinerId } from "../protocol/ids.ts";
import { HotkeyRegister, readHotkeys } from "./hotkeys.ts";

const networkId = createIdentity().minerId;
const [miner, second, newcomer] = [createIdentity().minerId, createIdentity().minerId, createIdentity().minerId];
const dayMs = 86_400_000;
const startMs = Date.parse("2026-11-26T12:00:00Z");

let stateFolder: string;
let nowMs: number;
let logged: string[];
let asked: MinerId[];
const earned = new Set([miner, second]);

beforeEach(() => {
  stateFolder = mkdtempSync(join(tmpdir(), "hotkeys-"));
  nowMs = startMs;
  logged = [];
  asked = [];
});
afterEach(() => rmSync(stateFolder, { recursive: true }));

function register(): HotkeyRegister {
  return new HotkeyRegister({
    stateFolder,
    networkId,
    hasReceipts: async (minerId) => {
      asked.push(minerId);
      return earned.has(minerId);
    },
    clock: () => nowMs,
    log: (text) => logged.push(text),
  });
}
const listed = () => readHotkeys(stateFolder, { networkId, nowMs }).map(({ minerId, address }) => [minerId, address]);
const proofOf = (minerId: MinerId) => fakeHotkeyProof(minerId, networkId, nowMs);

describe("a network's register of hotkeys", () => {
  it("lists what miners have proven, across restarts, until they prove another or name none", async () => {
    await register().take(miner, proofOf(miner));
    expect(listed()).toEqual([[miner, fakeHotkeyAddress]]);
    const restarted = register();
    await restarted.take(miner, null);
    expect(listed()).toEqual([]);
    expect(logged).toHaveLength(2);
  });

  it("lets one hotkey vouch for several miners, each by a statement of its own", async () => {
    const hotkeys = register();
    await hotkeys.take(miner, proofOf(miner));
    await expect(hotkeys.take(second, proofOf(miner))).rejects.toMatchObject({ failure: { code: "bad-signature" } });
    expect(listed()).toEqual([[miner, fakeHotkeyAddress]]);
    await hotkeys.take(second, proofOf(second));
    expect(listed()).toHaveLength(2);
  });

  it("keeps and checks nothing for keys that have earned nothing", async () => {
    const forged = { ...proofOf(newcomer), signature: "00".repeat(64) };
    await register().take(newcomer, forged);
    expect(listed()).toEqual([]);
  });

  it("neither checks nor writes again what it knows", async () => {
    const hotkeys = register();
    const proof = proofOf(miner);
    for (let session = 0; session < 3; session++) await hotkeys.take(miner, proof);
    expect([asked, logged.length]).toEqual([[miner], 1]);
  });

  it("takes a miner's words in their order, whatever each of them takes", async () => {
    const hotkeys = register();
    await Promise.all([hotkeys.take(miner, proofOf(miner)), hotkeys.take(miner, null)]);
    expect(listed()).toEqual([]);
  });

  it("ends a proof after its last day, and refuses it and one for another network", async () => {
    const hotkeys = register();
    const proof = proofOf(miner);
    await hotkeys.take(miner, proof);
    nowMs += 91 * dayMs;
    expect(listed()).toEqual([]);
    await expect(hotkeys.take(miner, proof)).rejects.toMatchObject({ failure: { code: "not-authorised" } });
    await expect(hotkeys.take(miner, fakeHotkeyProof(miner, second, nowMs))).rejects.toMatchObject({
      failure: { code: "not-authorised" },
    });
  });

  it("tells a miner whose hotkey cannot be kept, and its owner why", async () => {
    const hotkeys = register();
    mkdirSync(join(stateFolder, "hotkeys.json"));
    const failure = { code: "file-unreadable", message: expect.not.stringContaining(stateFolder), retry: true };
    await expect(hotkeys.take(miner, proofOf(miner))).rejects.toMatchObject({ failure });
    expect(logged.join()).toContain(stateFolder);
    rmSync(join(stateFolder, "hotkeys.json"), { recursive: true });
    await hotkeys.take(miner, proofOf(miner));
    expect(listed()).toHaveLength(1);
  });

  it("says so where its file is damaged", () => {
    writeFileSync(join(stateFolder, "hotkeys.json"), "[{}]");
    expect(register).toThrow("is not a list of hotkeys");
  });
});
