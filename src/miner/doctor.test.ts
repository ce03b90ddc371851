import { once } from "node:events";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { expect, it } from "vitest";
import { noFrameBytes } from "../protocol/frames.ts";
import { minerIdSchema } from "../protocol/ids.ts";
import { checkNode, runDoctor } from "./doctor.ts";
import { openKeyStores } from "./key-store/open-key-stores.ts";

const traffic = {
  total: { sentBytes: 12_345_678, receivedBytes: 0 },
  runs: [],
  sentFrames: noFrameBytes,
  sentBytesPerSecond: 125_000,
  receivedBytesPerSecond: 0,
  link: { upBytesPerSecond: 2.5e6, downBytesPerSecond: null, roundTripMs: 40.2 },
  peers: [],
};
const rules = { maxUploadMbps: null, maxDownloadMbps: null, onMetered: "pause" } as const;
const connection = { rules, metered: false, traffic };
const idle = { keyStores: openKeyStores("file"), work: null, threads: 1, memoryLimitBytes: 2 ** 30, connection };

it("finds a healthy machine healthy, and computes something to be sure", async () => {
  const { checks, network } = await runDoctor({ ...idle, stateFolder: tmpdir(), networkUrl: null });
  expect(network).toBeNull();
  const names = new Set(checks.map(({ name }) => name));
  expect([...names]).toEqual([
    "Node",
    "Native addon",
    "Self-test",
    "Memory",
    "Memory limit",
    "Disk",
    "Key",
    "Connection",
    "Traffic",
    "Link",
    "Peers",
  ]);
  expect(checks.filter(({ ok }) => !ok)).toEqual([]);
  expect(checks.find(({ name }) => name === "Self-test")?.detail).toMatch(
    / in f32: differs by [\d.]+e[+-]\d+ at most$/,
  );
}, 120_000);

it("says how much has passed, and whether a metered connection keeps the machine from training", async () => {
  const quick = { ...idle, stateFolder: tmpdir(), networkUrl: null };
  const { checks } = await runDoctor({ ...quick, connection: { ...connection, metered: true } });
  expect(checks.find(({ name }) => name === "Traffic")?.detail).toContain("sent 12.3 MB in all, 1.00 Mbit/s now");
  expect(checks.find(({ name }) => name === "Link")?.detail).toBe(
    "up 20.0 Mbit/s, down not measured yet, round trip 40 ms",
  );
  expect(checks.find(({ name }) => name === "Connection")).toMatchObject({ ok: false, detail: "metered" });
}, 120_000);

it("says how many peers are reached directly", async () => {
  const peer = {
    minerId: minerIdSchema.parse("ab".repeat(32)),
    sinceMs: 0,
    roundTripMs: null,
    damaged: { direct: 0, relayed: 0 },
  };
  const peers = [
    { ...peer, way: "direct" },
    { ...peer, way: "relayed" },
  ] as const;
  const quick = { ...idle, stateFolder: tmpdir(), networkUrl: null };
  const { checks } = await runDoctor({ ...quick, connection: { ...connection, traffic: { ...traffic, peers } } });
  expect(checks.find(({ name }) => name === "Peers")?.detail).toContain("1 of 2 reached directly");
}, 120_000);

it("names what is wrong with the network, and what to do", async () => {
  const closed = createServer().listen(0, "127.0.0.1");
  await once(closed, "listening");
  const place = closed.address();
  const port = typeof place === "object" && place !== null ? place.port : 0;
  closed.close();
  await once(closed, "close");
  const address = `ws://127.0.0.1:${port}`;
  const networkUrl = `${address}#invitation=secret`;
  const { ok, network: shown, checks } = await runDoctor({ ...idle, stateFolder: tmpdir(), networkUrl });
  expect(shown).toBe(address);
  const network = checks.find(({ name }) => name === "Network");
  expect(ok).toBe(false);
  expect(network).toMatchObject({ ok: false, detail: expect.stringContaining(`${port}: The computer is there`) });
  expect(network?.action).toContain("Check the port");
}, 120_000);

it("does not look for a network that nobody named, nor fail for what it cannot read", async () => {
  const { checks } = await runDoctor({ ...idle, stateFolder: "/nowhere/at/all", networkUrl: null });
  expect(checks.map(({ name }) => name)).not.toContain("Network");
  expect(checks.find(({ name }) => name === "Disk")).toMatchObject({
    ok: true,
    detail: expect.stringContaining("not readable"),
  });
}, 120_000);

it.each([
  [{ node: "24.21.0", napi: "10" }, true],
  [{ node: "20.19.0", napi: "9" }, false],
  [{ node: "24.0.0", napi: undefined }, false],
])("takes %j for %j", (versions, ok) => {
  expect(checkNode(versions).ok).toBe(ok);
  expect(checkNode(versions).action === "").toBe(ok);
});
