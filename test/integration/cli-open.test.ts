/** How the app is shown, on Linux: with fake programs in the places where Electron and browsers are looked for. */
import { chmodSync, existsSync, readFileSync, rmSync, watch, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type OpenedApp, openApp } from "../../src/cli/demo/open-app.ts";
import { Output } from "../../src/cli/output.ts";
import { shellExitCodes } from "../../src/protocol/shell-exit-codes.ts";
import { temporaryFolder } from "../contract/local-api-world.ts";

const address = { url: "http://127.0.0.1:4242", token: "t".repeat(32), pid: 1, version: "0" };
const url = `${address.url}/?token=${address.token}`;

describe.skipIf(process.platform !== "linux")("opening the app", () => {
  let folder: string;
  let notes: string;
  let app: OpenedApp | undefined;

  beforeEach(() => {
    folder = temporaryFolder();
    notes = "";
    vi.stubEnv("PATH", folder);
    vi.stubEnv("DISPLAY", ":77");
    vi.stubEnv("WAYLAND_DISPLAY", "");
  });
  afterEach(() => {
    app?.close();
    vi.unstubAllEnvs();
    rmSync(folder, { recursive: true, force: true });
  });

  /** A program that writes down its arguments and goes on until it is ended, or until `then` is over. */
  function writeFakeProgram(name: string, then = "exec /bin/sleep 60"): string {
    const program = join(folder, name);
    writeFileSync(
      program,
      `#!/bin/sh\nprintf '%s\\n' "$@" > ${folder}/arguments.new\n/bin/mv ${folder}/arguments.new ${folder}/arguments\n${then}\n`,
    );
    chmodSync(program, 0o755);
    return program;
  }

  async function open(electron?: string, requireElectron = false): Promise<OpenedApp> {
    const output = new Output(
      { stdout: { write: () => undefined }, stderr: { write: (text) => (notes += text) } },
      false,
    );
    const electronFinder = async () =>
      electron === undefined ? undefined : { program: electron, args: ["/the/clone"] };
    app = await openApp({ address, daemonFolder: "/the/daemon", requireElectron, output, electronFinder });
    return app;
  }

  async function startedWith(): Promise<readonly string[]> {
    const file = join(folder, "arguments");
    const watcher = watch(folder);
    const written = new Promise<void>((resolve) => watcher.on("change", () => existsSync(file) && resolve()));
    if (!existsSync(file)) await written;
    watcher.close();
    return readFileSync(file, "utf8").trim().split("\n");
  }

  it("starts Electron for this daemon, and knows when the person quits it", async () => {
    const { quit } = await open(writeFakeProgram("electron", "exit 0"));
    expect((await startedWith()).slice(0, 2)).toEqual(["/the/clone", "--daemon=/the/daemon"]);
    await quit;
  });

  it("goes on training where Electron is here and cannot run, and says where the app is", async () => {
    const { quit } = await open(writeFakeProgram("electron", "exit 127"));
    const quitByPerson = vi.fn();
    void quit.then(quitByPerson);
    await vi.waitUntil(() => notes !== "");
    expect(notes).toContain("(exit code 127); the training goes on");
    expect(notes).toContain(url);
    expect(quitByPerson).not.toHaveBeenCalled();
  });

  it("does not take it for quitting that another instance of the app is open", async () => {
    const { quit } = await open(writeFakeProgram("electron", `exit ${shellExitCodes.alreadyOpen}`));
    const quitByPerson = vi.fn();
    void quit.then(quitByPerson);
    await vi.waitUntil(() => notes !== "");
    expect(notes).toContain("is open already");
    expect(notes).toContain(url);
    expect(quitByPerson).not.toHaveBeenCalled();
  });

  it("opens the browser's app window where Electron cannot be had, and says so in one line", async () => {
    writeFakeProgram("chromium");
    await open();
    expect(await startedWith()).toContain(`--app=${url}`);
    expect(notes).toBe("Electron's program cannot be had: the same app opens in the browser.\n");
  });

  it("asks the desktop for a browser where no Chromium is found", async () => {
    writeFakeProgram("xdg-open", "exit 0");
    await open();
    expect(await startedWith()).toEqual([url]);
  });

  it("prints the address where no browser is found", async () => {
    await open();
    expect(notes).toContain(`The app is at ${url}`);
  });

  it("prints the address where there is no display", async () => {
    vi.stubEnv("DISPLAY", "");
    writeFakeProgram("chromium");
    await open();
    expect(notes).toBe(`There is no display here. The app is at ${url}\n`);
  });

  it("fails where Electron is required and cannot be had", async () => {
    await expect(open(undefined, true)).rejects.toMatchObject({ failure: { code: "electron-missing" } });
  });

  it("fails where Electron is required and there is no display", async () => {
    vi.stubEnv("DISPLAY", "");
    const failure = { code: "electron-missing", message: expect.stringContaining("no display") };
    await expect(open(writeFakeProgram("electron"), true)).rejects.toMatchObject({ failure });
  });
});
