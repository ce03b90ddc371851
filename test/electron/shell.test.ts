import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { demosFolderName, ownMinerFolderName } from "../../src/miner/find-daemon.ts";
import { writeDaemonAddress } from "../../src/miner/store/daemon-address.ts";
import type { LocalApi } from "../../src/protocol/local-api.ts";
import { shellExitCodes } from "../../src/protocol/shell-exit-codes.ts";
import { describeLocalApi } from "../contract/local-api.ts";
import { type DaemonWorld, startDaemonWorld, temporaryFolder } from "../contract/local-api-world.ts";
import type { FakeElectron, FakePage } from "./fake-electron.ts";
import { startShell } from "./start-shell.ts";

describeLocalApi("Electron's main process and preload, against a fake Electron", async ({ stateFolder }) => {
  const electron = await startShell({ switches: { daemon: stateFolder } });
  return { api: await connectedApi(electron), close: () => quit(electron) };
});

describe("the Electron shell", () => {
  let world: DaemonWorld;
  let electron: FakeElectron;
  let page: FakePage;

  beforeEach(async () => {
    world = await startDaemonWorld();
    electron = await startShell({ switches: { daemon: world.stateFolder } });
    page = await electron.firstPage;
  });
  afterEach(async () => {
    await quit(electron);
    await world.close();
  });

  it("opens its window isolated, in the sandbox and without Node", () => {
    expect(electron.windows[0]?.options.webPreferences).toMatchObject({
      contextIsolation: true,
      sandbox: true,
      nodeIntegration: false,
      webSecurity: true,
      webviewTag: false,
    });
  });

  it("exposes the local API to the page and nothing else", () => {
    expect(Object.keys(page.exposed)).toEqual(["trainAtHome"]);
    expect(Object.keys(apiOf(page))).toEqual(["call", "subscribe"]);
  });

  it("serves the dashboard under a policy that allows no connection and no foreign script", async () => {
    expect(page.response.status).toBe(200);
    expect(await page.response.text()).toContain("<script");
    const policy = page.response.headers.get("content-security-policy") ?? "";
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("script-src 'self'");
    expect(policy).not.toContain("connect-src");
  });

  it.each([
    "app://train-at-home/../../package.json",
    "app://train-at-home/%2e%2e/%2e%2e/package.json",
    "app://other/index.html",
  ])("serves nothing for %s", async (url) => {
    expect((await electron.protocolHandler?.({ url }))?.status).toBe(404);
  });

  it("stays on its own page, and opens only known https links, in the browser", () => {
    const contents = electron.windows[0]?.webContents;
    for (const name of ["will-navigate", "will-redirect", "will-attach-webview"]) {
      let prevented = false;
      contents?.emit(name, { url: "https://example.com/", preventDefault: () => (prevented = true) });
      expect(prevented).toBe(true);
    }
    const links = [
      "https://github.com/",
      "http://github.com/",
      "https://example.com/",
      "file:///etc/passwd",
      "https://a@github.com/",
    ];
    for (const url of links) expect(contents?.windowOpenHandler?.({ url })).toEqual({ action: "deny" });
    expect(electron.openedLinks).toEqual(["https://github.com/"]);
  });

  it("denies every permission", () => {
    let decision: unknown;
    electron.permissions.setPermissionRequestHandler?.({}, "media", (granted: unknown) => (decision = granted));
    expect(decision).toBe(false);
    expect(electron.permissions.setPermissionCheckHandler?.()).toBe(false);
    expect(electron.permissions.setDevicePermissionHandler?.()).toBe(false);
  });

  it("answers neither frames inside the page nor pages from elsewhere", async () => {
    const request = { id: 1, command: "snapshot", parameters: {} };
    for (const senderFrame of [
      { url: "https://example.com/", parent: null },
      { url: "app://train-at-home/index.html", parent: {} },
      null,
    ]) {
      const reply = await electron.invoke("local-api:call", { sender: {}, senderFrame }, request);
      expect(reply).toMatchObject({ ok: false, failure: { code: "origin-refused" } });
    }
  });

  it("answers what is no request with a typed failure", async () => {
    const event = { sender: {}, senderFrame: { url: "app://train-at-home/index.html", parent: null } };
    for (const request of [undefined, 7, {}, { id: -1, command: "pause" }, { id: 1, command: "pause", extra: 1 }])
      expect(await electron.invoke("local-api:call", event, request)).toMatchObject({
        failure: { code: "malformed-message" },
      });
    const long = { id: 1, command: "logs", parameters: { lines: "x".repeat(1 << 20) } };
    expect(await electron.invoke("local-api:call", event, long)).toMatchObject({
      failure: { code: "message-too-large" },
    });
  });

  it("shows in the tray what the machine does and why, and pauses from there", async () => {
    await connectedApi(electron);
    const [tray] = electron.trays;
    if (!tray) throw new Error("there is no tray icon");
    await changed(tray, () => tray.menu.some((item) => item.label === "Pause" && item.enabled === true));
    tray.menu.find((item) => item.label === "Pause")?.click?.();
    await changed(tray, () => tray.toolTip.includes("Paused by you"));
    expect(tray.image).toMatch(/tray-paused\.png$/);
    expect(world.miner.active?.active).toBe(false);
  });

  it("shows its window again when it is started a second time", () => {
    electron.app.emit("second-instance");
    expect(electron.windows).toHaveLength(1);
    expect(electron.windows[0]?.shown.at(-1)).toBe("focus");
  });

  it("finds the daemon again after that was started anew, and gives the page a new snapshot", async () => {
    const api = await connectedApi(electron);
    const snapshots: number[] = [];
    const second = Promise.withResolvers<void>();
    api.subscribe((event) => {
      if (event.event === "snapshot" && snapshots.push(event.state.machine.startedAtMs) === 2) second.resolve();
    });
    await world.daemon.close();
    world = await startDaemonWorld({ stateFolder: world.stateFolder });
    await second.promise;
    expect(snapshots[1]).toBeGreaterThan(snapshots[0] ?? Number.POSITIVE_INFINITY);
  });

  it("leaves a daemon running that it did not start", async () => {
    await quit(electron);
    await expect(world.daemon.api.call("pause", {})).resolves.toMatchObject({ intent: "pause" });
  });
});

describe("the Electron shell, started on its own", () => {
  it("finds the daemon that answers, whatever a killed one with another program's process id has left behind", async () => {
    const folder = temporaryFolder();
    const address = { url: "http://127.0.0.1:9", token: "t".repeat(43), pid: process.pid, version: "0.1.0" };
    writeDaemonAddress(folder, address);
    const stateFolder = join(folder, demosFolderName, "tiny-1x1", ownMinerFolderName);
    mkdirSync(stateFolder, { recursive: true });
    const world = await startDaemonWorld({ stateFolder });
    vi.stubEnv("TAH_STATE", folder);
    const electron = await startShell();
    await connectedApi(electron);
    await quit(electron);
    vi.unstubAllEnvs();
    await world.close();
    rmSync(folder, { recursive: true, force: true });
  });
});

describe("a second instance of the Electron shell", () => {
  it("ends at once, says so by its exit code, and opens nothing", async () => {
    const electron = await startShell({ anotherInstance: true });
    expect(await electron.quit).toBe(shellExitCodes.alreadyOpen);
    expect(electron.windows).toEqual([]);
    expect(electron.trays).toEqual([]);
  });
});

function apiOf(page: FakePage): LocalApi {
  return page.exposed.trainAtHome as LocalApi;
}

/** The page's API, once the shell has found the daemon. */
async function connectedApi(electron: FakeElectron): Promise<LocalApi> {
  const api = apiOf(await electron.firstPage);
  const first = Promise.withResolvers<void>();
  const unsubscribe = api.subscribe(() => first.resolve());
  await first.promise;
  unsubscribe();
  return api;
}

async function quit(electron: FakeElectron): Promise<void> {
  (electron.app as FakeElectron["app"] & { quit(): void }).quit();
  await electron.quit;
}

async function changed(tray: FakeElectron["trays"][number], expected: () => boolean): Promise<void> {
  while (!expected()) await new Promise((resolve) => tray.once("fake-change", resolve));
}
