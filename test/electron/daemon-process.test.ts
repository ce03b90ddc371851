import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { DaemonProcess, daemonProgram } from "../../src/main/daemon-process.ts";
import { temporaryFolder } from "../contract/local-api-world.ts";

describe("a daemon that the shell starts", () => {
  let folder: string;
  beforeEach(() => {
    folder = temporaryFolder();
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it("is asked to hand over and end when the app is quit, and is waited for", async () => {
    const [started, ended] = [join(folder, "started"), join(folder, "ended")];
    const entry = join(folder, "daemon.mjs");
    writeFileSync(
      entry,
      `import { writeFileSync } from "node:fs";
       process.once("disconnect", () => writeFileSync(${JSON.stringify(ended)}, ""));
       writeFileSync(${JSON.stringify(started)}, "");`,
    );
    const daemon = new DaemonProcess({ node: process.execPath, entry });
    await vi.waitUntil(() => existsSync(started), { timeout: 20_000 });
    await daemon.stop();
    expect(existsSync(ended)).toBe(true);
  });

  it("that could not be started does not keep the app from ending", async () => {
    mkdirSync(join(folder, "no-program"));
    await new DaemonProcess({ node: join(folder, "no-program"), entry: "nothing" }).stop();
  });

  it("is the packaged one, on the packaged Node, in an installed app", () => {
    const { node, entry } = daemonProgram(true, "/opt/app/resources", "/opt/app/resources/app.asar");
    expect(node).toMatch(/resources.node.node(\.exe)?$/);
    expect(entry).toBe(join("/opt/app/resources", "daemon", "tah.mjs"));
  });
});
