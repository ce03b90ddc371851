/** Making a clone ready, and each way in which that fails on somebody's computer: one line that says what to do, and an exit code. */
import { spawn } from "node:child_process";
import { cpSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checkDiskSpace } from "../../scripts/setup/dependencies.mjs";
import { SetupFailure, setupExitCodes } from "../../scripts/setup/failure.mjs";
import { checkProductNode, checkSystemNode } from "../../scripts/setup/node-runtime.mjs";
import { exitCodeOf } from "../../src/cli/exit-codes.ts";
import { temporaryFolder } from "../contract/local-api-world.ts";
import { jsonResult, runTah } from "./captured-streams.ts";

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

  it("takes over the lock of a set-up that was killed", async () => {
    copyOf("scripts", "package.json", "package-lock.json", "native-bridge/src");
    symlinkSync(join(root, "node_modules"), join(clone, "node_modules"));
    mkdirSync(join(clone, ".setup"));
    const dead = spawn(process.execPath, ["--version"]);
    await new Promise((resolve) => dead.once("exit", resolve));
    writeFileSync(join(clone, ".setup", "lock"), String(dead.pid));
    expect((await setUp({ PATH: "", CXX: "" })).exitCode).toBe(setupExitCodes["no-compiler"]);
  });
});

describe("a port that is taken", () => {
  it("is named in one line by the network's server", async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const { port } = other.address() as AddressInfo;
    const args = ["--preset", "tiny", "--port", String(port), "--state", clone, "--json"];
    const result = await runTah("network", "serve", ...args);
    expect(result.exitCode).toBe(exitCodeOf("port-in-use"));
    expect(jsonResult(result)).toMatchObject({
      failure: { code: "port-in-use", message: expect.stringContaining(String(port)) },
    });
    other.close();
  });
});

function copyOf(...paths: readonly string[]): void {
  for (const path of paths) cpSync(join(root, path), join(clone, path), { recursive: true });
}

async function setUp(environment: NodeJS.ProcessEnv) {
  const env = { ...process.env, npm_execpath: undefined, ...environment };
  const child = spawn(process.execPath, [join(clone, "scripts", "setup.mjs")], { cwd: clone, env });
  const [exitCode, stderr] = await Promise.all([
    new Promise<number | null>((resolve) => child.once("close", resolve)),
    text(child.stderr),
  ]);
  return { exitCode, stderr };
}
