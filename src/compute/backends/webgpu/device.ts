/**
 * The WebGPU back end: the contract of `../../kernels.ts` in float32, or with factors in float16, on any GPU that Vulkan, Metal
 * or Direct3D 12 reaches, through dawn (the `webgpu` package). `adapter.ts` finds and opens it, `memory.ts` owns its buffers, `queue.ts` feeds it,
 * `shaders/` computes. It imports nothing but the contract, the checks that all back ends share, and `webgpu`.
 */
import {
  type Device,
  DeviceUnavailableError,
  type Kernels,
  noWorkspace,
  type Precision,
  type Slice,
  slice,
} from "../../kernels.ts";
import { checkTransfer, withShapeChecks } from "../argument-checks.ts";
import { type AdapterChoice, adapterName, findAdapter, type Gpu, openGpu } from "./adapter.ts";
import { largestOperand } from "./bindings.ts";
import { webGpuKernels } from "./kernels.ts";
import { indicesOf, WebGpuMemory } from "./memory.ts";
import { Pace } from "./pace.ts";
import { WebGpuQueue } from "./queue.ts";
import { bySubgroups, byTree } from "./shaders/reductions.ts";

export type WebGpuAvailability =
  | { readonly available: true; readonly description: string }
  | { readonly available: false; readonly reason: string };

/** Whether a WebGPU device can be created here, and on what. */
export async function webGpuAvailability(choice: AdapterChoice = {}): Promise<WebGpuAvailability> {
  try {
    return { available: true, description: adapterName(await findAdapter(choice)) };
  } catch (error) {
    if (error instanceof DeviceUnavailableError) return { available: false, reason: error.message };
    throw error;
  }
}

/**
 * A device that computes on a GPU. Throws `DeviceUnavailableError` when there is none, or not in this precision. When the GPU goes away, every
 * call throws `DeviceLostError`.
 */
export async function createWebGpuDevice(choice: AdapterChoice = {}): Promise<Device> {
  const { precision = "f32" } = choice;
  return deviceOn(await openGpu(await findAdapter(choice)), precision);
}

export async function deviceOn(gpu: Gpu, precision: Precision = "f32"): Promise<Device> {
  if (precision === "bf16") throw new DeviceUnavailableError(`${gpu.name} does not compute in ${precision}`);
  const memory = new WebGpuMemory(gpu);
  const pace = new Pace(cautiousOperationsPerMs, () => performance.now());
  const queue = new WebGpuQueue(gpu, pace);
  const reductions = gpu.device.features.has("subgroups") ? bySubgroups : byTree;
  const kernels = webGpuKernels(memory, queue, { precision, reductions, matrices: gpu.matrices });
  await learnRate(memory, queue, pace, kernels);

  async function read(source: Slice): Promise<Float32Array> {
    checkTransfer(source, "real", source.length);
    return queue.read(source);
  }

  return {
    description: { kind: "webgpu", name: `${gpu.name}, WebGPU${precision === "f16" ? ", f16" : ""}`, threads: 1 },
    kernels: withShapeChecks(kernels),
    largestOperand: largestOperand(queue.bindingElements),
    workspace: noWorkspace,
    allocate(length) {
      gpu.check();
      return memory.allocate("real", length);
    },
    allocateIndices(length) {
      gpu.check();
      return memory.allocate("index", length);
    },
    free(buffer) {
      queue.release();
      memory.free(buffer);
    },
    upload(target, values) {
      checkTransfer(target, "real", values.length);
      queue.write(target, values instanceof Float32Array ? values : Float32Array.from(values));
    },
    uploadIndices(target, values) {
      checkTransfer(target, "index", values.length);
      queue.write(target, values);
      indicesOf(target).set(values);
    },
    async download(source, target) {
      const values = await read(source);
      if (target === undefined) return values;
      checkTransfer(source, "real", target.length);
      target.set(values);
      return target;
    },
    downloadDouble: async (source) => Float64Array.from(await read(source)),
    close() {
      queue.release();
      memory.freeAll();
      gpu.device.destroy();
    },
  };
}

/** A slow processor's, until the device has been timed. */
const cautiousOperationsPerMs = 2e6;
/** The side of the matrices that a device is timed with, and how long the timing must at least take to count. */
const timedSide = 256;
const shortestTimingMs = 4;
const longestRun = 512;

/** Times products, more of them until it can be told how long they take: the queue's pace begins with that. */
async function learnRate(memory: WebGpuMemory, queue: WebGpuQueue, pace: Pace, { matmul }: Kernels): Promise<void> {
  const [out, a, b] = [1, 2, 3].map(() => slice(memory.allocate("real", timedSide ** 2)));
  if (!out || !a || !b) throw new Error("three matrices");
  const shape = { m: timedSide, n: timedSide, k: timedSide };
  // The first one is compiled.
  matmul(out, a, b, shape);
  await queue.finish();
  for (let count = 1; count <= longestRun; count *= 8) {
    const start = performance.now();
    for (let run = 0; run < count; run++) matmul(out, a, b, shape);
    await queue.finish();
    const milliseconds = performance.now() - start;
    pace.setRate((count * 2 * timedSide ** 3) / milliseconds);
    if (milliseconds >= shortestTimingMs) break;
  }
  queue.release();
  for (const { buffer } of [out, a, b]) memory.free(buffer);
}
