/** The built app in real Electron. Its binary cannot be had everywhere: then this is skipped and counted, unless REQUIRE_ELECTRON=1. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { _electron } from "playwright-core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type DaemonWorld, startDaemonWorld } from "../contract/local-api-world.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const programs: Partial<Record<NodeJS.Platform, string>> = {
  darwin: "Electron.app/Contents/MacOS/Electron",
  win32: "electron.exe",
};
const electron = join(
  process.env.ELECTRON_OVERRIDE_DIST_PATH ?? join(root, "node_modules", "electron", "dist"),
  programs[process.platform] ?? "electron",
);
const hasDisplay = process.platform !== "linux" || Boolean(process.env.DISPLAY || process.env.WAYLAND_DISPLAY);
const missing = existsSync(electron) ? (hasDisplay ? "" : "there is no display") : "Electron's binary is not here";
const skipped = missing !== "" && process.env.REQUIRE_ELECTRON !== "1";

describe.skipIf(skipped)(`the app in real Electron${skipped ? ` (skipped: ${missing})` : ""}`, () => {
  let world: DaemonWorld;
  let app: Awaited<ReturnType<typeof _electron.launch>>;

  beforeEach(async () => {
    world = await startDaemonWorld();
    const asRoot = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
    app = await _electron.launch({
      executablePath: electron,
      args: [root, `--daemon=${world.stateFolder}`, ...asRoot],
    });
  });
  afterEach(async () => {
    await app.close();
    await world.close();
  });

  it("shows the dashboard of the daemon that it was started for", async () => {
    const page = await app.firstWindow();
    await page.getByText("test machine").first().waitFor();
    expect(page.url()).toBe("app://train-at-home/index.html");
  });

  it("gives the page the local API, and neither Node nor Electron", async () => {
    const page = await app.firstWindow();
    const seen = await page.evaluate(() => ({
      api: Object.keys(window.trainAtHome ?? {}),
      node: ["require", "process", "Buffer"].filter((name) => name in window),
    }));
    expect(seen).toEqual({ api: ["call", "subscribe"], node: [] });
  });

  it("passes a refusal on with everything that the daemon said", async () => {
    const page = await app.firstWindow();
    const failure = await page.evaluate(() =>
      window.trainAtHome?.call("logs", { lines: -1 }).catch((error: { failure: unknown }) => error.failure),
    );
    expect(failure).toMatchObject({ code: "invalid-option" });
  });

  it("pauses the machine from the page", async () => {
    const page = await app.firstWindow();
    await page.evaluate(() => window.trainAtHome?.call("pause", {}));
    expect(world.miner.active?.active).toBe(false);
  });
});
