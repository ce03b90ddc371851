import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { OsSecretsProcess } from "./os-secrets.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tah-secrets-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** One that runs this in place of the program that speaks with the real store. */
function secretsBehind(script: string, deadlineMs?: number): OsSecretsProcess {
  const file = join(folder, "program.mjs");
  writeFileSync(file, script);
  return new OsSecretsProcess({ program: pathToFileURL(file), ...(deadlineMs !== undefined && { deadlineMs }) });
}

describe("secrets in the operating system's key store", () => {
  it("do not hold the daemon up for ever while the store waits for a person", async () => {
    const waiting = secretsBehind("process.on('message', () => {}); setInterval(() => {}, 1000)", 50);
    await expect(waiting.read("account")).rejects.toMatchObject({
      failure: { code: "timed-out", retry: true, action: expect.stringContaining("unlock its keyring") },
    });
  });

  it.each([
    ["dies", "process.exit(3)", "exit code 3"],
    ["cannot be loaded", "import './nowhere.mjs'", "exit code 1"],
    ["answers nonsense", "process.on('message', () => process.send({ ok: 'perhaps' }))", "not understood"],
    [
      "answers endlessly",
      "process.on('message', () => process.send({ ok: true, secret: 'x'.repeat(1e6) }))",
      "not understood",
    ],
    ["refuses", "process.on('message', () => process.send({ ok: false, reason: 'locked' }))", "locked"],
  ])("are a failure that says what to do when the program that asks for them %s", async (_what, script, reason) => {
    await expect(secretsBehind(script).read("account")).rejects.toMatchObject({
      failure: { code: "unreachable", message: expect.stringContaining(reason), action: expect.stringMatching(/./) },
    });
  });

  it("are passed by the channel alone, where no other program sees them", async () => {
    const telling = `process.on("message", ({ secret }) => {
      const seen = JSON.stringify([process.argv, process.execArgv, process.env]);
      process.send({ ok: false, reason: seen.includes(secret) ? "it is to be seen" : "it is hidden" });
    })`;
    await expect(secretsBehind(telling).write("account", "swordfish")).rejects.toThrow("it is hidden");
  });

  it("are a failure where the store's library has no binary for this platform", async () => {
    const environment = { ...process.env, NAPI_RS_NATIVE_LIBRARY_PATH: join(folder, "nowhere.node") };
    await expect(new OsSecretsProcess({ environment }).read("account")).rejects.toMatchObject({
      failure: { code: "unreachable", message: expect.stringContaining("native binding") },
    });
  });

  it.skipIf(process.platform !== "linux")("are a failure without a message bus (Linux)", async () => {
    const { DBUS_SESSION_BUS_ADDRESS: _bus, ...rest } = process.env;
    const environment = { ...rest, XDG_RUNTIME_DIR: folder };
    await expect(new OsSecretsProcess({ environment }).write("account", "secret")).rejects.toMatchObject({
      failure: { code: "unreachable", message: expect.stringContaining("DBus") },
    });
  });
});
