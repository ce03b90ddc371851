/** Checks whether this machine can train, and says for each thing that is wrong what to do about it. */
import { connect } from "node:net";
import { nativeAvailability } from "../compute/backends/native/device.ts";
import { ComputeHost } from "../compute/host.ts";
import { presets } from "../compute/model/presets.ts";
import { wholeModel } from "../compute/model/stages.ts";
import type { OpenOptions } from "../compute/worker-protocol.ts";
import type { CommandResult } from "../protocol/local-api.ts";
import { readSensors } from "./machine.ts";
import { minimumFreeDiskBytes, minimumFreeMemoryBytes } from "./policy.ts";
import { exampleWork, type MemoryReport, memoryReport, type Work } from "./stage-budget.ts";

export type DoctorReport = CommandResult<"doctor">;
type Check = DoctorReport["checks"][number];

export interface DoctorOptions {
  readonly stateFolder: string;
  /** Null when no network is configured: then there is nothing to reach. */
  readonly networkUrl: string | null;
  /** What this machine trains; null when it trains nothing. */
  readonly work: Work | null;
  readonly memoryLimitBytes: number;
}

const nodeMajorNeeded = 24;
const nodeApiNeeded = 10;
const networkTimeoutMs = 3000;
/** float32 on many threads against float64 on one, over a whole forward and backward pass. */
const selfTestTolerance = 1e-4;

export async function runDoctor(options: DoctorOptions): Promise<DoctorReport> {
  const { stateFolder, networkUrl, work, memoryLimitBytes } = options;
  const memory = memoryReport(work ?? exampleWork(), memoryLimitBytes);
  const { freeMemoryBytes, freeDiskBytes } = readSensors(stateFolder);
  const checks = [
    checkNode(process.versions),
    checkAddon(),
    await checkDevice(),
    checkRoom("Memory", freeMemoryBytes, minimumFreeMemoryBytes, "Close other programs."),
    checkLimit(memory),
    checkRoom("Disk", freeDiskBytes, minimumFreeDiskBytes, `Free some space where ${stateFolder} lies.`),
    ...(networkUrl === null ? [] : [await checkNetwork(new URL(networkUrl))]),
  ];
  return { ok: checks.every(({ ok }) => ok), checks, memory };
}

export function checkNode({ node, napi }: { readonly node: string; readonly napi?: string | undefined }): Check {
  const ok = Number.parseInt(node, 10) >= nodeMajorNeeded && Number(napi) >= nodeApiNeeded;
  return check("Node", ok, `Node ${node}, Node-API ${napi}`, {
    action: `Needs Node ${nodeMajorNeeded} with Node-API ${nodeApiNeeded}: run npm run setup.`,
  });
}

function checkAddon(): Check {
  const native = nativeAvailability();
  return check("Native addon", native.available, native.available ? native.description : native.reason, {
    action: "Build it with npm run setup. Until then this machine trains many times slower.",
  });
}

/** Trains a tiny model on one microbatch in a compute worker, natively and with the reference back end, and compares. */
async function checkDevice(): Promise<Check> {
  const name = "Self-test";
  const action = "This machine must not train: its results are not right. Update the app, or report this.";
  const backends = nativeAvailability().available ? (["reference", "native"] as const) : (["reference"] as const);
  const host = new ComputeHost({ onErrorOutput: () => undefined }); // what it has to say comes as a failure too
  try {
    const results: number[][] = [];
    for (const backend of backends) results.push(await trainOnce(host, backend));
    const [expected = [], found = expected] = results;
    const error = Math.max(...expected.map((value, index) => Math.abs((found[index] ?? Number.NaN) / value - 1)));
    const detail = `${backends.join(" against ")}: results differ by ${error.toExponential(1)}`;
    return check(name, error <= selfTestTolerance, detail, { action });
  } catch (cause) {
    return check(name, false, cause instanceof Error ? cause.message : String(cause), { action });
  } finally {
    await host.close();
  }
}

/** Loss and gradient norm of one microbatch. */
async function trainOnce(host: ComputeHost, backend: OpenOptions["backend"]): Promise<number[]> {
  const { model, training } = presets.tiny;
  await host.call("open", { backend, threads: 2, model, training, stage: wholeModel(model) });
  const sequences = training.sequencesPerMicrobatch;
  const tokenAt = (index: number) => (index * 7919) % model.vocabulary;
  const tokens = Int32Array.from({ length: sequences * training.sequenceLength }, (_, index) => tokenAt(index));
  const targets = tokens.map((_, index) => tokenAt(index + 1));
  const { lossSumNats } = await host.call("forwardBackward", { microbatch: "self-test", sequences, tokens, targets });
  const { gradientNorm } = await host.call("step");
  return [lossSumNats, gradientNorm];
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

/** Whether something answers at the gateway's host and port. */
async function checkNetwork({ hostname, port, protocol }: URL): Promise<Check> {
  const target = { host: hostname.replace(/^\[|\]$/g, ""), port: Number(port) || (protocol === "wss:" ? 443 : 80) };
  const problem = await new Promise<string | null>((resolve) => {
    const socket = connect({ ...target, timeout: networkTimeoutMs });
    const settle = (result: string | null) => {
      socket.destroy();
      resolve(result);
    };
    socket.on("connect", () => settle(null));
    socket.on("timeout", () => settle(`no answer in ${networkTimeoutMs} ms`));
    socket.on("error", (error) => settle(error.message));
  });
  const place = `${target.host} port ${target.port}`;
  return check("Network", problem === null, problem === null ? `${place} answers` : `${place}: ${problem}`, {
    action: "Check the address, that the network is running, and that no firewall is in between.",
  });
}

/** What to do is said only where there is something to do. */
function check(name: string, ok: boolean, detail: string, { action }: { action: string }): Check {
  return { name, ok, detail, action: ok ? "" : action };
}

function inGibibytes(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}
