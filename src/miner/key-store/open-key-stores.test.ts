import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { obstacleToUnattendedUse } from "./open-key-stores.ts";

const lingerFolder = mkdtempSync(join(tmpdir(), "tah-linger-"));
afterAll(() => rmSync(lingerFolder, { recursive: true }));
writeFileSync(join(lingerFolder, "farmer"), "");

const desktop = { DISPLAY: ":0", USER: "ada" };

it.each([
  ["at a Linux desktop", "linux", desktop, null],
  ["at a Wayland desktop", "linux", { WAYLAND_DISPLAY: "wayland-0" }, null],
  ["on macOS", "darwin", {}, null],
  ["on Windows", "win32", {}, null],
  ["on a Linux machine without a desktop", "linux", { USER: "ada" }, "no desktop"],
  ["over SSH", "linux", { ...desktop, SSH_CONNECTION: "10.0.0.1 5000 10.0.0.2 22" }, "SSH"],
  ["for a user whose services linger", "linux", { ...desktop, USER: "farmer" }, "enable-linger"],
] as const)(
  "%s, a key store opens by itself, or it is said why it may not",
  (_where, platform, environment, reason) => {
    const obstacle = obstacleToUnattendedUse({ platform, environment, lingerFolder });
    if (reason === null) expect(obstacle).toBeNull();
    else expect(obstacle).toContain(reason);
  },
);
