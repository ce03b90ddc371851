import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ComputeHost } from "../../compute/host.ts";
import type { OpenOptions } from "../../compute/worker-protocol.ts";
import { createLog } from "../log.ts";
import { computingDevice } from "./computing-device.ts";
import { type KnownDevicesOptions, knownDevices } from "./known-devices.ts";
import type { ProbedWorker } from "./probe-devices.ts";

const worker = new URL("../../../test/compute/fake-device-worker.ts", import.meta.url);
/** Processes are started, and models trained. */
const timeout = 120_000;

let stateFolder: string;
/** Ends the time of the device that is examined. */
let timeIsUp: AbortController;
/** Devices that were opened. */
let opened: string[];
beforeEach(() => {
  stateFolder = mkdtempSync(join(tmpdir(), "tah-probe-"));
  opened = [];
});
afterEach(() => rmSync(stateFolder, { recursive: true, force: true }));

function options(environment: Readonly<Record<string, string>> = {}): KnownDevicesOptions {
  return {
    stateFolder,
    threads: 1,
    benchmarkBudgetMs: 1,
    startWorker: () => startFakeWorker(environment),
    timeLimit: () => {
      timeIsUp = new AbortController();
      return timeIsUp.signal;
    },
  };
}

function startFakeWorker(environment: Readonly<Record<string, string>>): ProbedWorker {
  const host = new ComputeHost({ worker, environment });
  return {
    call(method, ...args) {
      const answer = host.call(method, ...args);
      const { adapter, backend } = (args[0] ?? {}) as Partial<OpenOptions>;
      if (method === "open") opened.push(adapter ?? backend ?? "");
      if (adapter === "hanging") timeIsUp.abort(new DOMException("time is up", "TimeoutError"));
      return answer;
    },
    close: () => host.close(),
  };
}

const healthy = { FAKE_DEVICES: "honest" };

describe("the probe of a machine's devices", { timeout }, () => {
  it("refuses the ones that compute wrongly, crash or hang, each with its reason, and goes on to the others", async () => {
    const { devices, chosen } = await knownDevices(options());
    expect(devices).toMatchObject([
      { name: "honest", verdict: "passed", lossDeviation: null },
      {
        name: "wrong",
        verdict: "refused",
        reason: "the gradient of embedding differs by 1.0e-2, allowed are 2e-5",
      },
      { name: "crashing", verdict: "refused", reason: expect.stringContaining("ended before it answered") },
      { name: "hanging", verdict: "refused", reason: "it did not answer in time" },
      { name: "native", verdict: "refused", reason: expect.stringContaining("the fake driver is broken") },
    ]);
    expect(chosen).toEqual({ backend: "webgpu", precision: "f32", adapter: "honest" });
  });

  it("is remembered, until a driver changes or somebody asks for a new one", async () => {
    expect((await knownDevices(options(healthy))).remembered).toBe(false);
    opened = [];
    expect((await knownDevices(options(healthy))).remembered).toBe(true);
    expect(opened).toEqual([]);
    expect((await knownDevices({ ...options(healthy), threads: 2 })).remembered).toBe(false);
    expect((await knownDevices(options({ ...healthy, FAKE_DRIVER: "2.0" }))).remembered).toBe(false);
    expect((await knownDevices({ ...options({ ...healthy, FAKE_DRIVER: "2.0" }), fresh: true })).remembered).toBe(
      false,
    );
  });

  it("is made again where its file is torn", async () => {
    await knownDevices(options(healthy));
    const file = join(stateFolder, "devices.json");
    const whole = readFileSync(file, "utf8");
    writeFileSync(file, whole.slice(0, 40));
    expect((await knownDevices(options(healthy))).remembered).toBe(false);
    expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({ probe: { chosen: { adapter: "honest" } } });
  });

  it("is not remembered where nothing passed", async () => {
    const broken = { FAKE_DEVICES: "crashing" };
    expect((await knownDevices(options(broken))).chosen.backend).toBe("reference");
    expect((await knownDevices(options(broken))).remembered).toBe(false);
    expect(opened.filter((device) => device === "crashing")).toHaveLength(2);
  });

  it("stops when it is asked to, and leaves nothing behind", async () => {
    const stopping = new AbortController();
    const onProgress = (text: string) => {
      if (text.startsWith("Measuring")) stopping.abort(new Error("enough"));
    };
    await expect(knownDevices({ ...options(healthy), signal: stopping.signal, onProgress })).rejects.toThrow("enough");
    expect(() => readFileSync(join(stateFolder, "devices.json"))).toThrow("ENOENT");
  });
});

describe("the device that a daemon computes on", { timeout }, () => {
  it("is the one that it was told, without a look at the machine", async () => {
    const told = { backend: "webgpu", precision: "f16", adapter: "some" } as const;
    const log = createLog();
    expect(await computingDevice({ ...options(), told, log })).toEqual({ ...told, blockTokensPerSecond: null });
    expect(opened).toEqual([]);
  });

  it("is otherwise the one that the probe chose, and the log says why and what was refused", async () => {
    const log = createLog();
    const computing = await computingDevice({ ...options({ FAKE_DEVICES: "honest,wrong" }), told: null, log });
    expect(computing).toMatchObject({ adapter: "honest", blockTokensPerSecond: expect.any(Number) });
    const texts = log.last(20, "info").map(({ level, text }) => `${level}: ${text}`);
    expect(texts).toContainEqual(
      expect.stringMatching(/^warning: wrong in f32 is not used: the gradient of embedding/),
    );
    expect(texts).toContainEqual("info: Computing on honest in f32. It is the only one that passed.");
  });

  it("is the reference where nothing passed, with a warning", async () => {
    const log = createLog();
    const computing = await computingDevice({ ...options({ FAKE_DEVICES: "wrong" }), told: null, log });
    expect(computing).toMatchObject({ backend: "reference", blockTokensPerSecond: null });
    expect(log.last(1, "warning")[0]?.text).toContain("No device passed");
  });
});
