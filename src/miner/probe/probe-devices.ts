/**
 * Examines this machine's devices, one after the other, each in a compute worker of its own: a driver that crashes or hangs costs
 * that device and nothing else. What is examined is in `src/compute/probe`.
 */
import { ComputeHost } from "../../compute/host.ts";
import { measureSpeed, type Speed } from "../../compute/probe/benchmark.ts";
import { referenceGradients, type SelfTest, selfTest } from "../../compute/probe/self-test.ts";
import type { ComputeCaller } from "../../compute/worker-protocol.ts";
import type { DetectedDevice, RefusedDevice } from "../../protocol/device-probe.ts";
import { failureOf } from "../../protocol/failure.ts";
import { deviceOptions } from "./device-options.ts";

/** A driver may take so long to say which devices it has. */
const listMs = 15_000;
/** A device may take so long for self-test and benchmark, programs compiled included. */
const examineMs = 60_000;
/** All benchmarks together: within 10 s, though a slow device takes a little more than its share. */
const defaultBudgetMs = 8_000;
/** More of it makes no measurement better. */
const longestBenchmarkMs = 2_000;

export interface ProbeOptions {
  /** Of the processor: the user's limit. */
  readonly threads: number;
  /** Rejects what is under way with its reason, and ends the worker. */
  readonly signal?: AbortSignal;
  /** Called before each step with what it is. */
  readonly onProgress?: (text: string) => void;
  readonly startWorker?: () => ProbedWorker;
  /** Aborts when so much time has passed. */
  readonly timeLimit?: (milliseconds: number) => AbortSignal;
  readonly benchmarkBudgetMs?: number;
}

export type ProbedWorker = Pick<ComputeHost, "call" | "close">;

export interface Detection {
  readonly devices: readonly DetectedDevice[];
  /** Back ends that could not even say which devices they have. */
  readonly failed: readonly RefusedDevice[];
}

/** What `selfTest` and, for a device that passed it and was to be measured, `measureSpeed` found. */
export interface ExaminedDevice {
  readonly device: DetectedDevice;
  readonly test: SelfTest;
  readonly speed: Speed | null;
}

/** Rejects only with the signal's reason. */
export async function detectDevices(options: ProbeOptions): Promise<Detection> {
  options.onProgress?.("Looking for devices");
  const list = async (backend: "native" | "webgpu"): Promise<Detection> => {
    try {
      const devices = await withWorker(options, listMs, (engine) => engine.call("devices", { backend }));
      return { devices, failed: [] };
    } catch (error) {
      options.signal?.throwIfAborted();
      if (isAbsent(error)) return { devices: [], failed: [] };
      const unknown = { backend, precision: "f32", adapter: null, name: backend, driver: "", software: false } as const;
      const reason = `looking for its devices failed: ${reasonOf(error)}`;
      return { devices: [], failed: [{ ...unknown, verdict: "refused", reason }] };
    }
  };
  const [processor, gpus] = await Promise.all([list("native"), list("webgpu")]);
  // What the processor imitates a GPU with is many times slower than its own kernels, and takes a minute to be compiled.
  const worthwhile = processor.devices.length === 0 ? gpus.devices : gpus.devices.filter(({ software }) => !software);
  return { devices: [...processor.devices, ...worthwhile], failed: [...processor.failed, ...gpus.failed] };
}

/** Self-tests all devices and, if asked to, measures those that pass. Rejects only with the signal's reason, or where the reference fails. */
export async function examineDevices(
  devices: readonly DetectedDevice[],
  { measure, ...options }: ProbeOptions & { readonly measure: boolean },
): Promise<readonly ExaminedDevice[]> {
  const { threads, signal, onProgress, benchmarkBudgetMs = defaultBudgetMs } = options;
  const budgetMs = measure ? Math.min(longestBenchmarkMs, benchmarkBudgetMs / devices.length) : 0;
  if (devices.length === 0) return [];
  const right = await withWorker(options, examineMs, referenceGradients);
  const examined: ExaminedDevice[] = [];
  for (const device of devices) {
    const named = `${device.name} in ${device.precision}`;
    onProgress?.(`Testing ${named}`);
    const examine = async (engine: ComputeCaller): Promise<ExaminedDevice> => {
      const where = deviceOptions(device, threads);
      const test = await selfTest(engine, where, right);
      if (!test.passed || !measure) return { device, test, speed: null };
      onProgress?.(`Measuring ${named}`);
      const speed = await measureSpeed(engine, where, { budgetMs, nowMs: () => performance.now() });
      return { device, test, speed };
    };
    try {
      examined.push(await withWorker(options, examineMs, examine));
    } catch (error) {
      signal?.throwIfAborted();
      if (isAbsent(error)) continue; // unplugged a moment ago
      examined.push({ device, test: { passed: false, reason: reasonOf(error) }, speed: null });
    }
  }
  return examined;
}

/** Rejects with what `work` rejects, or with the reason of the signal or of the time limit; the worker is gone then. */
async function withWorker<T>(
  { signal, startWorker = defaultWorker, timeLimit = AbortSignal.timeout }: ProbeOptions,
  limitMs: number,
  work: (engine: ComputeCaller) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const worker = startWorker();
  const cut = AbortSignal.any([timeLimit(limitMs), ...(signal ? [signal] : [])]);
  const { promise: never, reject } = Promise.withResolvers<never>();
  cut.addEventListener("abort", () => reject(cut.reason));
  try {
    return await Promise.race([work(worker), never]);
  } finally {
    await worker.close();
  }
}

/**
 * At the priority of an ordinary program, for these seconds: at the low one of training, whatever else runs would decide what is
 * measured, and whether it is in time. What drivers have to say on standard error comes as a failure, too.
 */
function defaultWorker(): ComputeHost {
  return new ComputeHost({ onErrorOutput: () => undefined });
}

/** There is no such device here, or no driver for it: nothing that anybody needs to hear of. */
function isAbsent(error: unknown): boolean {
  return failureOf(error)?.code === "compute-unavailable";
}

function reasonOf(error: unknown): string {
  if (error instanceof DOMException && error.name === "TimeoutError") return "it did not answer in time";
  const message = error instanceof Error ? error.message : String(error);
  return message.split("\n", 1)[0] ?? "";
}
