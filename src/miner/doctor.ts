/** Checks whether this machine can train, and says for each thing that is wrong what to do about it. */
import { createNativeDevice, nativeAvailability } from "../compute/backends/native/device.ts";
import { stageWorkspaceBytes } from "../compute/model/workspace.ts";
import { failureOf } from "../protocol/failure.ts";
import { createIdentity } from "../protocol/identity.ts";
import type { LinkReport } from "../protocol/link-report.ts";
import type { CommandResult } from "../protocol/local-api.ts";
import type { ConnectionRules, TrafficView } from "../protocol/machine-view.ts";
import { parseNetworkAddress, shareableAddress } from "../protocol/network-address.ts";
import type { KeyStores } from "./key-store/key-store.ts";
import { readSensors } from "./machine.ts";
import { exampleWork, type MemoryReport, memoryReport, type Work } from "./memory-report.ts";
import { minimumFreeDiskBytes, minimumFreeMemoryBytes } from "./policy.ts";
import { detectDevices, examineDevices } from "./probe/probe-devices.ts";
import { systemClock } from "./session/clock.ts";
import { visit } from "./session/observe.ts";
import { examineKey } from "./store/examine-key.ts";

export type DoctorReport = CommandResult<"doctor">;
type Check = DoctorReport["checks"][number];

export interface DoctorOptions {
  readonly stateFolder: string;
  readonly keyStores: KeyStores;
  /** Null when no network is configured: then there is nothing to reach. */
  readonly networkUrl: string | null;
  /** Of the processor, to test it with. */
  readonly threads: number;
  /** What this machine trains; null when it trains nothing. */
  readonly work: Work | null;
  readonly memoryLimitBytes: number;
  /** Null where no daemon works. */
  readonly connection: ConnectionFacts | null;
}

export interface ConnectionFacts {
  readonly rules: ConnectionRules;
  readonly metered: boolean | null;
  readonly traffic: TrafficView;
}

const nodeMajorNeeded = 24;
const nodeApiNeeded = 10;

export async function runDoctor(options: DoctorOptions): Promise<DoctorReport> {
  const { stateFolder, keyStores, networkUrl, threads, memoryLimitBytes, connection } = options;
  const work = options.work ?? exampleWork();
  const memory = memoryReport(work, memoryLimitBytes, workspaceBytes(work, threads));
  const { freeMemoryBytes, freeDiskBytes } = readSensors(stateFolder);
  const checks = [
    checkNode(process.versions),
    checkAddon(),
    ...(await checkDevices(threads)),
    checkRoom("Memory", freeMemoryBytes, minimumFreeMemoryBytes, "Close other programs."),
    checkLimit(memory),
    checkRoom("Disk", freeDiskBytes, minimumFreeDiskBytes, `Free some space where ${stateFolder} lies.`),
    await checkKey(stateFolder, keyStores),
    ...(networkUrl === null ? [] : [await checkNetwork(networkUrl)]),
    ...(connection === null ? [] : connectionChecks(connection)),
  ];
  const network = networkUrl === null ? null : shareableAddress(parseNetworkAddress(networkUrl));
  return { ok: checks.every(({ ok }) => ok), network, checks, memory };
}

export function checkNode({ node, napi }: { readonly node: string; readonly napi?: string | undefined }): Check {
  const ok = Number.parseInt(node, 10) >= nodeMajorNeeded && Number(napi) >= nodeApiNeeded;
  return check("Node", ok, `Node ${node}, Node-API ${napi}`, {
    action: `Needs Node ${nodeMajorNeeded} with Node-API ${nodeApiNeeded}: run npm run setup.`,
  });
}

/** What the processor's kernels would take; a GPU's take next to nothing. */
function workspaceBytes(work: Work, threads: number): number {
  if (!nativeAvailability().available) return 0;
  const device = createNativeDevice({ threads });
  try {
    return stageWorkspaceBytes(work, device.workspace);
  } finally {
    device.close();
  }
}

function checkAddon(): Check {
  const native = nativeAvailability();
  return check("Native addon", native.available, native.available ? native.description : native.reason, {
    action: "Build it with npm run setup. Until then this machine trains many times slower.",
  });
}

/** Every device that there is, against the reference: one that fails is not used for training. */
async function checkDevices(threads: number): Promise<readonly Check[]> {
  const { devices, failed } = await detectDevices({ threads });
  const examined = await examineDevices(devices, { threads, measure: false });
  const action = "It is not used for training. Update its driver; if that does not help, report this.";
  return [
    ...examined.map(({ device, test }) => {
      const detail = test.passed ? `differs by ${test.worst.error.toExponential(1)} at most` : test.reason;
      return check("Self-test", test.passed, `${device.name} in ${device.precision}: ${detail}`, { action });
    }),
    ...failed.map(({ name, reason }) => check("Self-test", false, `${name}: ${reason}`, { action })),
  ];
}

function checkLimit({ stage, stages, neededBytes, limitBytes }: MemoryReport): Check {
  const detail = `stage ${stage + 1} of ${stages} takes ${inGibibytes(neededBytes)} of ${inGibibytes(limitBytes)}`;
  return check("Memory limit", neededBytes <= limitBytes, detail, {
    action: "Allow more: memoryLimitBytes in config.json, or TAH_MEMORY_LIMIT_BYTES.",
  });
}

function checkRoom(name: string, freeBytes: number | null, neededBytes: number, action: string): Check {
  if (freeBytes === null) return check(name, true, "not readable on this system", { action });
  const detail = `${inGibibytes(freeBytes)} free; needs at least ${inGibibytes(neededBytes)}`;
  return check(name, freeBytes >= neededBytes, detail, { action });
}

async function checkKey(stateFolder: string, keyStores: KeyStores): Promise<Check> {
  const key = await examineKey(stateFolder, keyStores);
  return check("Key", key.ok, key.detail, key);
}

/** Whether the network takes a session. */
async function checkNetwork(address: string): Promise<Check> {
  try {
    await visit<void>(address, createIdentity(), systemClock, (_, resolve) => ({ opened: () => resolve() }));
    return check("Network", true, `${parseNetworkAddress(address).url} answers`, { action: "" });
  } catch (error) {
    const failure = failureOf(error);
    if (failure === undefined) throw error;
    return check("Network", false, failure.message, failure);
  }
}

function connectionChecks(connection: ConnectionFacts): readonly Check[] {
  const { traffic } = connection;
  return [checkMetered(connection), reportTraffic(traffic), reportLink(traffic.link), reportPeers(traffic.peers)];
}

function checkMetered({ rules, metered }: ConnectionFacts): Check {
  const what = metered === null ? "not known whether metered" : metered ? "metered" : "not metered";
  const detail = rules.onMetered === "allow" ? `${what}; metered ones are allowed` : what;
  return check("Connection", metered !== true || rules.onMetered === "allow", detail, {
    action:
      "This machine trains when the connection is another one. To train on this one: tah limit --on-metered allow.",
  });
}

function reportTraffic({ total, sentBytesPerSecond, receivedBytesPerSecond }: TrafficView): Check {
  const line = (bytes: number, perSecond: number) =>
    `${(bytes / 1e6).toFixed(1)} MB in all, ${((perSecond * 8) / 1e6).toFixed(2)} Mbit/s now`;
  const sent = line(total.sentBytes, sentBytesPerSecond);
  const received = line(total.receivedBytes, receivedBytesPerSecond);
  return check("Traffic", true, `sent ${sent}; received ${received}`, { action: "" });
}

/** As learnt from what passed so far, which may not have filled the line yet. */
function reportLink({ upBytesPerSecond, downBytesPerSecond, roundTripMs }: LinkReport): Check {
  const megabits = (bytesPerSecond: number | null) =>
    bytesPerSecond === null ? "not measured yet" : `${((bytesPerSecond * 8) / 1e6).toFixed(1)} Mbit/s`;
  const roundTrip = roundTripMs === null ? "not measured yet" : `${roundTripMs.toFixed(0)} ms`;
  const detail = `up ${megabits(upBytesPerSecond)}, down ${megabits(downBytesPerSecond)}, round trip ${roundTrip}`;
  return check("Link", true, detail, { action: "" });
}

/** Whether this machine's router lets others in. */
function reportPeers(peers: TrafficView["peers"]): Check {
  const direct = peers.filter(({ way }) => way === "direct").length;
  const blocked = direct === 0 ? "; unless direct connections are switched off, a router or firewall blocks UDP" : "";
  const detail =
    peers.length === 0
      ? "no other miner to speak with yet"
      : `${direct} of ${peers.length} reached directly, the others over the network's gateway${blocked}`;
  return check("Peers", true, detail, { action: "" });
}

/** What to do is said only where there is something to do. */
function check(name: string, ok: boolean, detail: string, { action }: { action: string }): Check {
  return { name, ok, detail, action: ok ? "" : action };
}

function inGibibytes(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}
