import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline/promises";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { openKeyStores } from "../../src/miner/key-store/open-key-stores.ts";
import { OsKeyStore } from "../../src/miner/key-store/os-key-store.ts";
import { connectLocalApi } from "../../src/miner/local-api/client.ts";
import { readDaemonAddress } from "../../src/miner/store/daemon-address.ts";
import { FailureError } from "../../src/protocol/failure.ts";
import { type DaemonAddress, daemonAddressSchema } from "../../src/protocol/local-api.ts";
import type { ProcessView } from "../../src/protocol/machine-view.ts";
import { exampleReceipt } from "../contract/example-views.ts";
import { FakeOsSecrets } from "../contract/fake-os-secrets.ts";
import { type DaemonWorld, startDaemonWorld, temporaryFolder } from "../contract/local-api-world.ts";

let stateFolder: string;
const open: { close(): Promise<void> }[] = [];

beforeEach(() => {
  stateFolder = temporaryFolder();
});
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
  rmSync(stateFolder, { recursive: true, force: true });
});

async function start(options: Parameters<typeof startDaemonWorld>[0] = {}): Promise<DaemonWorld> {
  const world = await startDaemonWorld({ stateFolder, ...options });
  open.push(world.daemon);
  return world;
}

describe("a daemon", () => {
  it("does after a restart what the person asked for last, with the same identity and credits", async () => {
    const first = await start();
    const { minerId } = first.miner.options.identity;
    expect(first.miner.active?.active).toBe(true);
    const api = await connectLocalApi(readDaemonAddress(stateFolder));
    await api.call("pause", {});
    first.miner.emit({ type: "receipt", receipt: exampleReceipt(minerId, 0), signature: new Uint8Array(64) });
    api.close();
    await first.daemon.close();

    const second = await start();
    const { state } = await second.daemon.api.call("snapshot", {});
    expect(second.miner.active).toEqual({ active: false, reason: "Paused by you. Start resumes." });
    expect(state.machine).toMatchObject({ intent: "pause", minerId });
    expect(state.credits.payable).toBe(50_000);
    await second.daemon.api.call("start", {});
    await second.daemon.close();
    expect((await start()).miner.active?.active).toBe(true);
  });

  it("waits on a new machine for somebody to start it, when it is told to", async () => {
    expect((await start({ initialIntent: "pause" })).miner.active?.active).toBe(false);
  });

  it("does not work on a metered connection until it is allowed to, and says so", async () => {
    const { daemon, miner } = await start({ probeMetered: async () => true });
    expect(miner.active).toMatchObject({ active: false, reason: expect.stringContaining("metered") });
    const { state } = await daemon.api.call("snapshot", {});
    expect(state.machine).toMatchObject({ metered: true, state: { kind: "paused" } });
    await daemon.api.call("limit", { onMetered: "allow" });
    expect(miner.active).toMatchObject({ active: true });
  });

  it("goes on counting its traffic where it stopped", async () => {
    const first = await start();
    first.miner.activity = { ...first.miner.activity, bytesSent: 1000, bytesReceived: 500 };
    await first.daemon.close();
    const second = await start();
    const { state } = await second.daemon.api.call("snapshot", {});
    expect(state.traffic.total).toEqual({ sentBytes: 1000, receivedBytes: 500 });
  });

  it("goes on with its intent lost, but never with its identity lost", async () => {
    await (await start()).daemon.close();
    writeFileSync(join(stateFolder, "intent.json"), '{"intent":');
    const world = await start();
    const log = await world.daemon.api.call("logs", { level: "warning" });
    expect(log.map(({ text }) => text)).toEqual([expect.stringContaining("intent.json")]);
    await world.daemon.close();

    writeFileSync(join(stateFolder, "identity.pem"), "");
    await expect(start()).rejects.toMatchObject({ failure: { code: "state-corrupt" } });
    expect(readFileSync(join(stateFolder, "identity.pem"), "utf8")).toBe("");
  });

  it("does not start while its key store is locked, and makes no other identity", async () => {
    const secrets = new FakeOsSecrets();
    const keyStores = { ...openKeyStores("os"), os: new OsKeyStore(secrets) };
    const first = await start({ keyStores });
    const { minerId } = first.miner.options.identity;
    expect(readFileSync(join(stateFolder, "identity.pem"), "utf8")).not.toContain("PRIVATE");
    await first.daemon.close();
    secrets.failure = new FailureError("unreachable", "locked", { action: "Unlock it.", retry: true });
    await expect(start({ keyStores })).rejects.toMatchObject({
      failure: { code: "unreachable", action: "Unlock it." },
    });
    secrets.failure = null;
    const second = await start({ keyStores });
    expect(second.miner.options.identity.minerId).toBe(minerId);
    const { checks } = await second.daemon.api.call("doctor", {});
    expect(checks.find(({ name }) => name === "Key")).toMatchObject({
      ok: true,
      detail: "in this computer's key store",
    });
  }, 120_000);

  it("is the only one on its state folder", async () => {
    const first = await start();
    await expect(start()).rejects.toMatchObject({
      failure: {
        code: "already-running",
        message: expect.stringContaining(stateFolder),
        action: expect.not.stringMatching(/^$/),
      },
    });
    expect(readDaemonAddress(stateFolder)).toEqual(first.daemon.address);
  });

  it("leaves nothing held when it cannot start", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    const place = taken.address();
    const apiPort = typeof place === "object" && place !== null ? place.port : 0;
    const limits = { threads: 1, memoryLimitBytes: 1 << 30, maximumStages: 64 };
    const connection = { maxUploadMbps: null, maxDownloadMbps: null, onMetered: "pause", direct: "off" } as const;
    const settings = {
      networkUrl: "ws://127.0.0.1:9",
      name: "test",
      ...limits,
      ...connection,
      payoutAddress: null,
      apiPort,
      keyStore: "file",
    } as const;
    await expect(start({ settings })).rejects.toMatchObject({ failure: { code: "port-in-use" } });
    taken.close();
    await start();
  });

  it("hands its work over and takes its address back when it ends", async () => {
    const { daemon, miner } = await start();
    expect(miner.opened).toBe(true);
    await Promise.all([daemon.close(), daemon.close(), daemon.closed]);
    expect(miner.closedWithGraceMs).toBe(5000);
    expect(() => readDaemonAddress(stateFolder)).toThrow("no daemon runs");
    expect(existsSync(join(stateFolder, "daemon.json"))).toBe(false);
  });

  it("ends even when its miner fails to", async () => {
    const { daemon, miner } = await start();
    miner.close = () => Promise.reject(new Error("stuck"));
    await daemon.close();
    expect(readFileSync(join(stateFolder, "daemon.log"), "utf8")).toContain("stuck");
  });

  it("ends when its miner hangs, a second after the time it had to hand work over", async () => {
    const { daemon, miner } = await start();
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    miner.close = () => new Promise(() => undefined);
    const closed = daemon.close();
    await vi.advanceTimersByTimeAsync(6000);
    vi.useRealTimers();
    await closed;
    expect(readFileSync(join(stateFolder, "daemon.log"), "utf8")).toContain("longer than 6000 ms");
  });

  it("names the processes that its supervisor tells it of", async () => {
    const peer: ProcessView = { role: "local-peer", name: "peer 1", pid: 7, alive: true };
    const { daemon } = await start({ processes: () => [peer] });
    await expect(daemon.api.call("processes", {})).resolves.toEqual([peer]);
  });

  it("never writes its token to the log", async () => {
    const { daemon, miner } = await start();
    miner.options.log("error", "session", `could not reach ${daemon.address.url}/api?token=${daemon.address.token}`);
    await daemon.close();
    expect(readFileSync(join(stateFolder, "daemon.log"), "utf8")).not.toContain(daemon.address.token);
  });
});

describe("a daemon that was killed", () => {
  it("leaves an address behind that clients see through and the next daemon replaces", async () => {
    const { child, address } = await startProcess();
    expect(readDaemonAddress(stateFolder)).toEqual(address);
    await expect(start()).rejects.toMatchObject({ failure: { code: "already-running" } });
    child.kill("SIGKILL");
    await once(child, "exit");
    expect(existsSync(join(stateFolder, "daemon.json"))).toBe(true);
    expect(() => readDaemonAddress(stateFolder)).toThrow("no daemon runs");

    const { daemon } = await start();
    expect(readDaemonAddress(stateFolder)).toEqual(daemon.address);
    const api = await connectLocalApi(readDaemonAddress(stateFolder));
    await expect(api.call("processes", {})).resolves.toHaveLength(1);
    api.close();
  }, 20_000);
});

async function startProcess(): Promise<{ child: ChildProcess; address: DaemonAddress }> {
  const script = fileURLToPath(new URL("./daemon-process.ts", import.meta.url));
  const child = spawn(process.execPath, [script, stateFolder], { stdio: ["ignore", "pipe", "inherit"] });
  open.push({
    async close() {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill("SIGKILL");
        await once(child, "exit");
      }
    },
  });
  for await (const line of createInterface(child.stdout))
    return { child, address: daemonAddressSchema.parse(JSON.parse(line)) };
  throw new Error("the daemon process ended before it said where it is");
}
