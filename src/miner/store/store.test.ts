import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { writeFileAtomically } from "../../disk/atomic-file.ts";
import { minerIdSchema, runIdSchema } from "../../protocol/ids.ts";
import { type Receipt, receiptBytes } from "../../protocol/receipt.ts";
import { openKeyStores } from "../key-store/open-key-stores.ts";
import { readDaemonAddress, removeDaemonAddress, tokenLeftBehind, writeDaemonAddress } from "./daemon-address.ts";
import { loadIdentity } from "./identity-file.ts";
import { loadIntent, storeIntent } from "./intent-file.ts";
import { openStateDatabase } from "./state-database.ts";
import { openStateFolder, stateFolderPath } from "./state-folder.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tah-store-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const failing = (code: string) => expect.objectContaining({ failure: expect.objectContaining({ code }) });

describe("state folder", () => {
  it("lies where each operating system keeps such things, unless the environment says otherwise", () => {
    const home = join("/", "home", "ada");
    expect(stateFolderPath({ platform: "linux", environment: {}, home })).toBe(
      join(home, ".local/state/train-at-home"),
    );
    expect(stateFolderPath({ platform: "linux", environment: { XDG_STATE_HOME: "/s" }, home })).toBe(
      "/s/train-at-home",
    );
    expect(stateFolderPath({ platform: "darwin", environment: {}, home })).toBe(
      join(home, "Library/Application Support/Train at Home"),
    );
    expect(stateFolderPath({ platform: "win32", environment: { LOCALAPPDATA: "/l" }, home })).toBe("/l/Train at Home");
    expect(stateFolderPath({ platform: "win32", environment: { TAH_STATE: "/t" }, home })).toBe("/t");
  });

  it("is for its user only", () => {
    const inner = join(folder, "a", "b");
    openStateFolder(inner);
    expect(statSync(inner).mode & 0o777).toBe(0o700);
  });

  it("says what to do when it cannot be made", () => {
    writeFileSync(join(folder, "file"), "");
    expect(() => openStateFolder(join(folder, "file", "below"))).toThrow(failing("file-unreadable"));
  });
});

describe("files", () => {
  it("are replaced whole and leave no drafts behind", () => {
    const file = join(folder, "some.json");
    writeFileAtomically(file, "one");
    writeFileAtomically(file, "two");
    expect(readFileSync(file, "utf8")).toBe("two");
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder)).toEqual(["some.json"]);
  });
});

describe("identity", () => {
  const stores = openKeyStores("file");

  it("is made once and then stays the same", async () => {
    const first = await loadIdentity(folder, stores);
    expect((await loadIdentity(folder, stores)).minerId).toBe(first.minerId);
    expect(statSync(join(folder, "identity.pem")).mode & 0o777).toBe(0o600);
  });

  it("is refused, not replaced, when its file is damaged", async () => {
    await loadIdentity(folder, stores);
    const file = join(folder, "identity.pem");
    const torn = readFileSync(file, "utf8").slice(0, 40);
    writeFileSync(file, torn);
    await expect(loadIdentity(folder, stores)).rejects.toEqual(failing("state-corrupt"));
    expect(readFileSync(file, "utf8")).toBe(torn);
  });

  it.skipIf(process.platform === "win32")(
    "is refused when others on this computer can read it (Windows has no modes)",
    async () => {
      await loadIdentity(folder, stores);
      chmodSync(join(folder, "identity.pem"), 0o640);
      await expect(loadIdentity(folder, stores)).rejects.toEqual(failing("state-corrupt"));
      await expect(loadIdentity(folder, stores)).rejects.toThrow("mode 640");
    },
  );
});

describe("intent", () => {
  it("outlives the daemon", () => {
    storeIntent(folder, "pause");
    expect(loadIntent(folder, "run", unexpected)).toBe("pause");
  });

  it("starts as the caller says on a new machine", () => {
    expect(loadIntent(folder, "pause", unexpected)).toBe("pause");
  });

  it.each(["", '{"intent":"pau', '{"intent":"sprint"}', "null"])(
    "falls back and says so when the file holds %j",
    (text) => {
      writeFileSync(join(folder, "intent.json"), text);
      const lost: string[] = [];
      expect(loadIntent(folder, "run", (line) => lost.push(line))).toBe("run");
      expect(lost).toEqual([expect.stringContaining("intent.json")]);
    },
  );
});

describe("daemon address", () => {
  const address = { url: "http://127.0.0.1:4000", token: "t".repeat(43), pid: process.pid, version: "0.1.0" };

  it("is found by other programs of the same user only", () => {
    writeDaemonAddress(folder, address);
    expect(readDaemonAddress(folder)).toEqual(address);
    expect(statSync(join(folder, "daemon.json")).mode & 0o777).toBe(0o600);
  });

  it("counts as absent when it is missing, torn, or of a process that is gone", () => {
    expect(() => readDaemonAddress(folder)).toThrow(failing("not-found"));
    writeFileSync(join(folder, "daemon.json"), '{"url":');
    expect(() => readDaemonAddress(folder)).toThrow(failing("not-found"));
    writeDaemonAddress(folder, { ...address, pid: 2 ** 30 }); // beyond any system's process ids
    expect(() => readDaemonAddress(folder)).toThrow(failing("not-found"));
  });

  it("leaves its token to the next daemon when it was killed, and nothing when it ended in order", () => {
    writeDaemonAddress(folder, { ...address, pid: 2 ** 30 });
    expect(tokenLeftBehind(folder)).toBe(address.token);
    removeDaemonAddress(folder);
    expect(tokenLeftBehind(folder)).toBeUndefined();
  });
});

describe("state database", () => {
  const receipt = (epoch: number, attempt = 0): Receipt => ({
    networkId: "net",
    minerId: minerIdSchema.parse("cd".repeat(32)),
    at: { runId: runIdSchema.parse("demo"), epoch, attempt },
    stage: 1,
    tokens: 10,
    checks: ["merged-hash-agrees", "contribution-finite"],
    microCredits: 1_000 + epoch,
    atMs: 100 * epoch + 0.5,
  });

  const signature = new Uint8Array(64).fill(7);

  it("keeps what the network signed, and its signature, also in a file of an earlier version", async () => {
    const file = join(folder, "state.sqlite");
    const earlier = new Database(file);
    earlier.exec(`create table receipt (
      networkId text, runId text, epoch integer, attempt integer, stage integer,
      tokens integer not null, microCredits integer not null, checks text not null, atMs integer not null,
      primary key (networkId, runId, epoch, attempt, stage)
    ) strict; insert into receipt values ('net', 'demo', 0, 0, 1, 10, 1000, '', 0)`);
    earlier.close();
    const database = openStateDatabase(folder);
    await database.addReceipt(receipt(1), signature);
    expect(database.receiptTotals()).toEqual({ microCredits: 2_001, tokens: 20 });
    database.close();
    const kept = new Database(file);
    expect(kept.prepare("select signedBytes, signature from receipt where epoch = 1").get()).toEqual({
      signedBytes: Buffer.from(receiptBytes(receipt(1))),
      signature: Buffer.from(signature),
    });
    kept.close();
  });

  it("sums receipts, counts none twice, and keeps them", async () => {
    const database = openStateDatabase(folder);
    expect(database.receiptTotals()).toEqual({ microCredits: 0, tokens: 0 });
    expect(database.latestReceipt()).toBeNull();
    for (const one of [receipt(0), receipt(2), receipt(1), receipt(1)]) await database.addReceipt(one, signature);
    database.close();
    const again = openStateDatabase(folder);
    expect(again.receiptTotals()).toEqual({ microCredits: 3_003, tokens: 30 });
    expect(again.latestReceipt()).toEqual({ microCredits: 1_002, tokens: 10 });
    again.close();
  });

  it("does not wait for a slow disk: receipts count at once, and those that come meanwhile share the next turn", async () => {
    const turns: PromiseWithResolvers<void>[] = [];
    const files = new Set<string>();
    const database = openStateDatabase(folder, (file) => {
      files.add(file);
      const turn = Promise.withResolvers<void>();
      turns.push(turn);
      return turn.promise;
    });
    let onDisk = 0;
    const stored = [0, 1, 2].map((epoch) => database.addReceipt(receipt(epoch), signature).then(() => onDisk++));
    database.addTraffic([{ runId: null, sentBytes: 1, receivedBytes: 2 }]);
    expect(database.receiptTotals()).toEqual({ microCredits: 3_003, tokens: 30 });
    expect([turns.length, onDisk]).toEqual([1, 0]);
    turns[0]?.resolve();
    await stored[0];
    await vi.waitFor(() => expect(turns).toHaveLength(2));
    expect(onDisk).toBe(1);
    turns[1]?.resolve();
    await Promise.all(stored);
    expect([turns.length, onDisk]).toEqual([2, 3]);
    expect([...files]).toEqual([join(folder, "state.sqlite-wal")]);
    database.close();
  });

  it("says when the disk fails, and tries again with the next receipt", async () => {
    let isBroken = true;
    const database = openStateDatabase(folder, async () => {
      if (isBroken) throw new Error("input/output error");
    });
    await expect(database.addReceipt(receipt(0), signature)).rejects.toThrow("input/output error");
    isBroken = false;
    await expect(database.addReceipt(receipt(1), signature)).resolves.toBeUndefined();
    database.close();
  });

  it("keeps a receipt that no turn of the disk came for when it is closed", async () => {
    const database = openStateDatabase(folder);
    const stored = database.addReceipt(receipt(0), signature);
    database.close();
    await expect(stored).resolves.toBeUndefined();
    const again = openStateDatabase(folder);
    expect(again.receiptTotals().tokens).toBe(10);
    again.close();
  });

  it("has one owner at a time", () => {
    const database = openStateDatabase(folder);
    expect(() => openStateDatabase(folder)).toThrow(failing("already-running"));
    database.close();
    openStateDatabase(folder).close();
  });

  it("says what to do when its file is damaged", () => {
    writeFileSync(join(folder, "state.sqlite"), "not a database at all, but quite a bit of text ".repeat(100));
    expect(() => openStateDatabase(folder)).toThrow(failing("state-corrupt"));
  });
});

function unexpected(text: string): never {
  throw new Error(`nothing was lost, and yet: ${text}`);
}
