/** `tah bench` on this machine's processor, as a process of its own: it listens for signals, and for the end of its parent. */
import { execFile } from "node:child_process";
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, describe, expect, it } from "vitest";
import { outputSchemas } from "../../src/cli/output-schemas.ts";
import { temporaryFolder } from "../contract/local-api-world.ts";

const tah = fileURLToPath(new URL("../../src/cli/tah.ts", import.meta.url));
const stateFolder = temporaryFolder();
afterAll(() => rmSync(stateFolder, { recursive: true, force: true }));

async function bench(...args: readonly string[]) {
  const everything = [tah, "bench", "--threads", "1", "--state", stateFolder, ...args];
  // Without a driver for graphics cards there is the processor alone, whatever machine this is.
  const env = { ...process.env, VK_ICD_FILENAMES: "/nowhere/at/all.json" };
  return await promisify(execFile)(process.execPath, everything, { env });
}

describe("tah bench", { timeout: 120_000 }, () => {
  it("tests and measures the processor, says what it does meanwhile, and prints what docs/schemas says", async () => {
    const { stdout, stderr } = await bench("--json");
    expect(stdout.trimEnd().split("\n")).toHaveLength(1);
    const result = outputSchemas.bench.parse(JSON.parse(stdout));
    expect(result).toMatchObject({ remembered: false, threads: 1, chosen: { backend: "native", adapter: null } });
    for (const device of result.devices) expect(device).toMatchObject({ verdict: "passed", backend: "native" });
    expect(stderr).toContain("Looking for devices\n");
    expect(stderr).toMatch(/^Measuring .* in f32$/m);
  });

  it("remembers, shows a table to people, and says how to measure again", async () => {
    const { stdout } = await bench();
    expect(stdout).toMatch(/^ +device +precision +self-test +tokens\/s +GFLOP\/s$/m);
    expect(stdout).toMatch(/^→ .* (f32|bf16) +off by \S+ +[\d,]+ +[\d.]+$/m);
    expect(stdout).toMatch(/^Chosen: native in (f32|bf16)\. /m);
    expect(stdout).toContain("--fresh measures again");
  });
});
