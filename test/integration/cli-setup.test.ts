/** Making a clone ready, and each way in which that fails on somebody's computer: one line that says what to do, and an exit code. */
import { spawn } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { dirname, join, relative } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checkDiskSpace } from "../../scripts/setup/dependencies.mjs";
import { SetupFailure, setupExitCodes } from "../../scripts/setup/failure.mjs";
import { checkProductNode } from "../../scripts/setup/node-runtime.mjs";
import { checkSystemNode } from "../../scripts/setup/run-script.mjs";
import { bundlesFor } from "../../scripts/setup/tah.mjs";
import { exitCodeOf } from "../../src/cli/exit-codes.ts";
import { temporaryFolder } from "../contract/local-api-world.ts";
import { jsonResult, runTah } from "./captured-streams.ts";
import { DemoProcess } from "./demo-process.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

let clone: string;
beforeEach(() => {
  clone = temporaryFolder();
});
afterEach(() => rmSync(clone, { recursive: true, force: true }));

describe("setting up", () => {
  it("refuses a Node that is too old for the scripts, or for the product, or whose Node-API is", () => {
    expect(() => checkSystemNode("18.20.4")).toThrow(/Node 18\.20\.4 is too old: install Node 20/);
    expect(() => checkSystemNode("20.0.0")).not.toThrow();
    expect(() => checkProductNode("22.1.0", 10)).toThrow(/Node 22\.1\.0 is too old: install Node 24/);
    expect(() => checkProductNode("24.0.0", 9)).toThrow(expect.objectContaining({ code: "node-api-too-old" }));
    expect(() => checkProductNode("24.0.0", 10)).not.toThrow();
  });

  it("checks Node before it reads anything that a Node that is too old may lack", () => {
    const lacking = /import \{[^}]*\b(availableParallelism|statfsSync)\b/;
    const entries = readdirSync(join(root, "scripts")).filter((name) => name.endsWith(".mjs"));
    expect(entries).toContain("start.mjs");
    for (const entry of entries)
      for (const file of readBeforeRunning(join(root, "scripts", entry)))
        expect(readFileSync(file, "utf8"), file).not.toMatch(lacking);
    expect(readBeforeRunning(join(root, "scripts", "start.mjs")).map((file) => relative(root, file))).toEqual([
      join("scripts", "start.mjs"),
      join("scripts", "setup", "run-script.mjs"),
      join("scripts", "setup", "failure.mjs"),
    ]);
  });

  it("builds the app for commands that show it, and Electron's shell for those that open it", () => {
    const named = (...args: string[]) => bundlesFor(args).map(({ name }) => name);
    expect(named("status")).toEqual([]);
    expect(named("demo", "--tokens", "1")).toEqual(["renderer"]);
    expect(named("demo", "--open")).toEqual(["renderer", "shell"]);
  });

  it("refuses a full disk, saying how much has to be free", () => {
    expect(() => checkDiskSpace({ bavail: 1000, bsize: 4096 })).toThrow(SetupFailure);
    expect(() => checkDiskSpace({ bavail: 1000, bsize: 4096 })).toThrow(/free 2 GB/);
    expect(() => checkDiskSpace({ bavail: 1_000_000, bsize: 4096 })).not.toThrow();
  });

  it("says that the first run needs the npm registry when that cannot be reached", { timeout: 60_000 }, async () => {
    copyOf("scripts", "package.json", "package-lock.json");
    const { exitCode, stderr } = await setUp({
      npm_config_registry: "http://127.0.0.1:9/",
      npm_config_cache: join(clone, "cache"),
      npm_config_fetch_retries: "0",
    });
    expect(exitCode).toBe(setupExitCodes["no-network"]);
    expect(stderr).toContain("train-at-home: The first run needs the npm registry");
    expect(stderr).not.toMatch(/^\s+at /m);
  });

  it("says how to get a compiler where there is none", async () => {
    copyOf("scripts", "package.json", "package-lock.json", "native-bridge/src");
    symlinkSync(join(root, "node_modules"), join(clone, "node_modules"));
    const { exitCode, stderr } = await setUp({ PATH: join(clone, "nothing-here"), CXX: "" });
    expect(exitCode).toBe(setupExitCodes["no-compiler"]);
    expect(stderr).toMatch(/train-at-home: no C\+\+ compiler was found: .+ then try again\./);
    expect(stderr).not.toMatch(/^\s+at /m);
  });

  const lock = () => join(clone, ".setup", "lock");
  it.each([
    { of: "killed", owner: deadProcess, agedMs: 0 },
    { of: "killed, and whose process id belongs to another program by now,", owner: () => process.pid, agedMs: 60_000 },
    { of: "ended by a full disk before it wrote its process id", owner: () => "", agedMs: 60_000 },
  ])("takes over the lock of a set-up that was $of", async ({ owner, agedMs }) => {
    copyOf("scripts", "package.json", "package-lock.json", "native-bridge/src");
    symlinkSync(join(root, "node_modules"), join(clone, "node_modules"));
    mkdirSync(join(clone, ".setup"));
    writeFileSync(lock(), String(await owner()));
    const written = new Date(Date.now() - agedMs);
    utimesSync(lock(), written, written);
    expect((await setUp({ PATH: "", CXX: "" })).exitCode).toBe(setupExitCodes["no-compiler"]);
    expect(existsSync(lock())).toBe(false);
  });

  it.skipIf(process.platform !== "linux")(
    "says in one line that the disk is full, and leaves no lock behind",
    async () => {
      copyOf("scripts", "package.json", "package-lock.json");
      mkdirSync(join(clone, ".setup"));
      // As on a full disk, files are made and nothing can be written to them.
      const asOnFullDisk = `
      import fs from "node:fs";
      import { syncBuiltinESMExports } from "node:module";
      const { writeFileSync } = fs;
      fs.writeFileSync = (file, text, options) => {
        writeFileSync(file, "", options);
        writeFileSync("/dev/full", text);
      };
      syncBuiltinESMExports();`;
      writeFileSync(join(clone, "full-disk.mjs"), asOnFullDisk);
      const { exitCode, stdout, stderr } = await setUp({}, ["--import", join(clone, "full-disk.mjs")], ["--json"]);
      expect(exitCode).toBe(setupExitCodes["no-disk-space"]);
      expect(stderr).toBe("train-at-home: The disk is full: free 2 GB, then try again.\n");
      expect(jsonResult({ stdout })).toMatchObject({ failure: { code: "no-disk-space", retry: false } });
      expect(existsSync(lock())).toBe(false);
    },
  );
});

describe("a port that is taken", () => {
  it("is named in one line by the network's server", async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const { port } = other.address() as AddressInfo;
    const args = ["--preset", "tiny", "--port", String(port), "--state", clone, "--json"];
    const result = await runTah("network", "serve", ...args);
    expect(result.exitCode).toBe(exitCodeOf("port-in-use"));
    expect(result.stderr).toContain(portInUse(port));
    expect(jsonResult(result)).toMatchObject({
      failure: { code: "port-in-use", message: expect.stringContaining(String(port)) },
    });
    other.close();
  });

  it("is named in one line by a demo, too", { timeout: 60_000 }, async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const { port } = other.address() as AddressInfo;
    const args = ["--preset", "tiny", "--stages", "1", "--replicas", "1", "--port", String(port)];
    const { exitCode, stderr } = await new DemoProcess(clone, "none that starts", args).ended;
    expect(exitCode).toBe(exitCodeOf("port-in-use"));
    expect(stderr.split("\n")).toContain(portInUse(port));
    other.close();
  });

  function portInUse(port: number): string {
    const action = "Choose another one with --port, or end the other program.";
    return `tah: Port ${port} of 127.0.0.1 is in use by another program. ${action}`;
  }
});

/** The script and what it imports statically, at any depth: Node reads all of it before any of it runs. */
function readBeforeRunning(file: string): readonly string[] {
  const imported = readFileSync(file, "utf8").matchAll(/^(?:import|export) .*?from "(\.[^"]+)";$/gm);
  return [file, ...[...imported].flatMap(([, path = ""]) => readBeforeRunning(join(dirname(file), path)))];
}

function copyOf(...paths: readonly string[]): void {
  for (const path of paths) cpSync(join(root, path), join(clone, path), { recursive: true });
}

/** The id of a process that has ended. */
async function deadProcess(): Promise<number | undefined> {
  const dead = spawn(process.execPath, ["--version"]);
  await new Promise((resolve) => dead.once("exit", resolve));
  return dead.pid;
}

async function setUp(environment: NodeJS.ProcessEnv, nodeFlags: readonly string[] = [], args: readonly string[] = []) {
  const env = { ...process.env, npm_execpath: undefined, ...environment };
  const child = spawn(process.execPath, [...nodeFlags, join(clone, "scripts", "setup.mjs"), ...args], {
    cwd: clone,
    env,
  });
  const [exitCode, stdout, stderr] = await Promise.all([
    new Promise<number | null>((resolve) => child.once("close", resolve)),
    text(child.stdout),
    text(child.stderr),
  ]);
  return { exitCode, stdout, stderr };
}
