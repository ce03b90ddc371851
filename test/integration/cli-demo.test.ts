/** The local network of `tah demo`, with all its processes: it trains, survives kills, goes on where it stopped, and leaves nothing behind. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { demoFolderName } from "../../src/cli/demo/demo-folder.ts";
import { exitCodeOf } from "../../src/cli/exit-codes.ts";
import { demoResultSchema } from "../../src/cli/output-schemas.ts";
import { demosFolderName, ownMinerFolderName } from "../../src/miner/find-daemon.ts";
import { writeDaemonAddress } from "../../src/miner/store/daemon-address.ts";
import { temporaryFolder } from "../contract/local-api-world.ts";
import { jsonResult } from "./captured-streams.ts";
import { type DemoEnd, DemoProcess, isAlive } from "./demo-process.ts";

const timeout = 240_000;

let state: string;
let demo: DemoProcess | undefined;
beforeEach(() => {
  state = temporaryFolder();
});
afterEach(async () => {
  demo?.child.kill();
  await demo?.ended;
  rmSync(state, { recursive: true, force: true });
});

function startDemo(...args: readonly string[]): DemoProcess {
  const [stages, replicas] = ["--stages", "--replicas"].map((name) => Number(args.at(args.indexOf(name) + 1)));
  demo = new DemoProcess(state, networkFolder(stages, replicas), ["--preset", "tiny", ...args]);
  return demo;
}

function networkFolder(stages = 0, replicas = 0): string {
  return demoFolderName({ preset: "tiny", stages, replicas });
}

function resultOf({ exitCode, stdout, stderr }: DemoEnd) {
  expect(exitCode, stderr).toBe(0);
  return demoResultSchema.parse(jsonResult({ stdout }));
}

it("trains on separate processes, starts again what is killed, and loses nothing that was credited", {
  timeout,
}, async () => {
  const running = startDemo("--stages", "2", "--replicas", "2", "--tokens", "4096");
  await running.until(({ lists }) => lists.epochs.length > 0);
  const before = await running.processes();
  const roles = before.map(({ role }) => role);
  expect(roles.filter((role) => role === "local-peer")).toHaveLength(3);
  expect(roles.filter((role) => role === "compute-worker")).toHaveLength(4);
  for (const role of ["local-peer", "orchestrator"]) {
    const victim = before.find((process) => process.role === role);
    if (victim) process.kill(victim.pid, "SIGKILL");
  }
  const end = await running.ended;
  const result = resultOf(end);
  expect(result).toMatchObject({ stages: 2, replicas: 2, preset: "tiny" });
  expect(result.tokens).toBeGreaterThanOrEqual(4096);
  expect(result.restarts).toBeGreaterThanOrEqual(2);
  expect(result.validationLossNats).toBeLessThan(result.firstValidationLossNats ?? 0);
  expect(result.credits).toBeGreaterThan(0);
  expect(new Set(result.processes.map(({ pid }) => pid)).size).toBe(result.processes.length);
  expect(end.stderr).toMatch(/local peer \d ended \(SIGKILL\); starting it again/);
  for (const { pid } of [...before, ...result.processes]) expect(isAlive(pid)).toBe(false);
});

it("ends everything when it is interrupted, and goes on from there the next time", { timeout }, async () => {
  const network = ["--stages", "1", "--replicas", "2"];
  const first = startDemo(...network);
  await first.until(({ lists }) => lists.epochs.length >= 2);
  const processes = await first.processes();
  // Neither a second one nor a fresh start may touch what the first one works on; it can only be shown.
  const second = await startAgain([...network, "--fresh"]);
  expect(second.exitCode).toBe(exitCodeOf("already-running"));
  const shown = await startAgain([...network, "--open"]);
  expect(shown).toMatchObject({ exitCode: 0, stderr: expect.stringMatching(/is running already.*127\.0\.0\.1/s) });
  first.child.kill("SIGINT");
  const interrupted = resultOf(await first.ended);
  for (const { pid } of processes) expect(isAlive(pid)).toBe(false);
  // As after a power cut, when the daemon's process id belongs to another program by now.
  const ownMiner = join(state, demosFolderName, networkFolder(1, 2), ownMinerFolderName);
  const version = "0.1.0";
  writeDaemonAddress(ownMiner, { url: "http://127.0.0.1:9", token: "t".repeat(43), pid: process.pid, version });
  const resumed = resultOf(await startDemo(...network, "--tokens", String(interrupted.tokens + 1)).ended);
  expect(resumed.tokens).toBeGreaterThan(interrupted.tokens);
  expect(resumed.epochs).toBeGreaterThan(interrupted.epochs);
  expect(resumed.credits).toBeGreaterThan(interrupted.credits);
});

it("leaves no process behind when it is killed itself", { timeout }, async () => {
  const running = startDemo("--stages", "1", "--replicas", "1");
  await running.until(({ lists }) => lists.epochs.length > 0);
  const processes = await running.processes();
  expect(processes.map(({ role }) => role)).toEqual(
    expect.arrayContaining(["orchestrator", "this-machine", "compute-worker"]),
  );
  running.child.kill("SIGKILL");
  await vi.waitUntil(() => processes.every(({ pid }) => !isAlive(pid)), { timeout: 60_000, interval: 100 });
});

async function startAgain(network: readonly string[]): Promise<DemoEnd> {
  return new DemoProcess(state, "the other one has it", ["--preset", "tiny", ...network]).ended;
}
