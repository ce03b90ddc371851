import { existsSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { temporaryFolder } from "../../../test/contract/local-api-world.ts";
import { maxLogFileBytes } from "../../miner/log.ts";
import { SupervisedProcess } from "./supervised-process.ts";

const [runtime = "", program = ""] = process.argv;
let folder: string;
let supervised: SupervisedProcess | undefined;
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(async () => {
  await supervised?.stop(0);
  process.argv.splice(0, 2, runtime, program);
  rmSync(folder, { recursive: true, force: true });
});

it("keeps what its process prints in a log that does not grow for ever", async () => {
  const talkative = join(folder, "talkative.mjs");
  const lines = `"x".repeat(1023) + "\\n"`;
  writeFileSync(
    talkative,
    `process.on("disconnect", () => process.exit()); process.stdout.write((${lines}).repeat(6 << 10));`,
  );
  process.argv.splice(0, 2, runtime, talkative);
  const logFile = join(folder, "talkative.log");
  const nothing = () => undefined;
  const events = { onMessage: nothing, onProcesses: nothing, onNote: nothing, onGivenUp: nothing };
  supervised = new SupervisedProcess({ role: "local-peer", name: "talkative", args: () => [], logFile }, events);
  supervised.start();
  await vi.waitUntil(() => existsSync(`${logFile}.1`), { timeout: 20_000 });
  for (const file of [logFile, `${logFile}.1`].filter(existsSync))
    expect(statSync(file).size).toBeLessThanOrEqual(maxLogFileBytes);
});
