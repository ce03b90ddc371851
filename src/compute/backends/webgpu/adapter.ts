/** Finding a GPU: the only file that touches the `webgpu` package itself. */
import type { create as Create, globals as Globals } from "webgpu";
import { DeviceLostError, DeviceUnavailableError, type Precision } from "../../kernels.ts";
import { areUsable, type SubgroupMatrices } from "./shaders/matmul-by-matrices.ts";

export interface AdapterChoice {
  /** Part of the name of the adapter to use; by default the environment's TAH_GPU, and without it the first of `listAdapters`. */
  readonly adapter?: string;
  /** "f32" when left out. */
  readonly precision?: Precision;
}

/** A GPU that could be opened. */
export interface GpuAdapter {
  /** As its driver gives it: what an `AdapterChoice` asks for. GPUs of one name cannot be told apart, and are listed once. */
  readonly name: string;
  /** Maker, architecture and driver with its version, as far as the system says: what a measurement holds for. */
  readonly driver: string;
  /** Computed by the processor, which has a faster back end. */
  readonly software: boolean;
  readonly precisions: readonly Precision[];
}

/** An open GPU, and what went wrong with it. */
export interface Gpu {
  readonly device: GPUDevice;
  /** What a person would call it, such as "nvidia geforce rtx 4090". */
  readonly name: string;
  /** What its units for matrix products multiply, if programs can use them. */
  readonly matrices: SubgroupMatrices | null;
  /** Makes every further call throw `failure`; only the first one counts. */
  fail(failure: Error): void;
  /** Throws what went wrong, if anything has. */
  check(): void;
}

/**
 * Everything dawn hands out dies with the object that `create` returned, and takes the process with it when it is used
 * afterwards. So each of these objects is kept here for as long as the process runs, one per choice of an adapter.
 */
const instances = new Map<string, GPU>();

/**
 * - Workgroup memory would be set to zero before every group runs. No program reads what it has not written, and without
 *   it software compiles them eight times, and runs them one and a half times as fast.
 * - Dawn hides half precision on NVIDIA's Vulkan because of failed conformance tests. Here the self-test decides.
 * - Subgroup matrices are an experiment, which web pages may not take part in.
 */
const features = "enable-dawn-features=disable_workgroup_init,vulkan_enable_f16_on_nvidia,allow_unsafe_apis";

/** Throws `DeviceUnavailableError`; with the adapters that there are where one was asked for by name. */
export async function findAdapter({
  adapter: wanted = process.env.TAH_GPU,
  precision = "f32",
}: AdapterChoice): Promise<GPUAdapter> {
  const adapter = await requestAdapter(wanted);
  if (adapter === null) throw new DeviceUnavailableError("no GPU with a Vulkan, Metal or Direct3D 12 driver was found");
  if (!precisionsOf(adapter).includes(precision))
    throw new DeviceUnavailableError(`${adapterName(adapter)} does not compute in ${precision}`);
  return adapter;
}

/** All GPUs, the best first: discrete ones before integrated ones, and software last. None where there is no driver. */
export async function listAdapters(): Promise<readonly GpuAdapter[]> {
  const adapters: GpuAdapter[] = [];
  for (const name of await adapterNames()) {
    const adapter = await requestAdapter(name);
    if (adapter === null) continue; // unplugged a moment ago
    const { vendor, architecture, description, isFallbackAdapter: software } = adapter.info;
    const driver = [vendor, architecture, description].filter((part) => part !== "").join(", ");
    adapters.push({ name, driver, software, precisions: precisionsOf(adapter) });
  }
  return adapters;
}

/** Dawn names its adapters only in its answer to who asks for one that is not there. */
async function adapterNames(): Promise<readonly string[]> {
  try {
    await requestAdapter("none of this name");
    return [];
  } catch (error) {
    if (!(error instanceof DeviceUnavailableError)) throw error;
    const names = [...error.message.matchAll(/backend: '[^']*', name: '(.*)'$/gm)].map(([, name = ""]) => name);
    return [...new Set(names)];
  }
}

function precisionsOf(adapter: GPUAdapter): readonly Precision[] {
  return adapter.features.has("shader-f16") ? ["f32", "f16"] : ["f32"];
}

/**
 * The first adapter with `wanted` in its name, in dawn's order for high performance; null where there are none at all.
 * Throws `DeviceUnavailableError` where there are others.
 */
async function requestAdapter(wanted = ""): Promise<GPUAdapter | null> {
  const dawn = await loadDawn();
  const instance = instances.get(wanted) ?? dawn.create([features, ...(wanted ? [`adapter=${wanted}`] : [])]);
  try {
    const adapter = await instance.requestAdapter({ powerPreference: "high-performance" });
    if (adapter !== null) instances.set(wanted, instance);
    return adapter;
  } catch (cause) {
    throw new DeviceUnavailableError(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

const usedFeatures: readonly string[] = ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"];

/** What dawn says of subgroup matrices, which the standard does not have yet. */
interface MatrixInfo {
  readonly subgroupMatrixConfigs?: readonly {
    readonly componentType: string;
    readonly resultComponentType: string;
    readonly M: number;
    readonly N: number;
    readonly K: number;
  }[];
}

/** The largest ones that programs can use; only where all subgroups have one size. */
function subgroupMatricesOf({ info, features }: GPUAdapter): SubgroupMatrices | null {
  const { subgroupMinSize = 0, subgroupMaxSize = 0 } = info;
  if (usedFeatures.some((feature) => !features.has(feature)) || subgroupMinSize !== subgroupMaxSize) return null;
  const usable = ((info as MatrixInfo).subgroupMatrixConfigs ?? [])
    .filter(({ componentType, resultComponentType }) => componentType === "f16" && resultComponentType === "f32")
    .map(({ M: rows, N: columns, K: depth }) => ({ rows, columns, depth, subgroupSize: subgroupMaxSize }))
    .filter(areUsable);
  return usable.toSorted((one, other) => size(other) - size(one))[0] ?? null;
}

function size({ rows, columns, depth }: SubgroupMatrices): number {
  return rows * columns * depth;
}

/** Opens the adapter with the largest buffers, and all that programs can make use of. */
export async function openGpu(adapter: GPUAdapter): Promise<Gpu> {
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  const device = await adapter.requestDevice({
    requiredLimits: { maxBufferSize, maxStorageBufferBindingSize },
    requiredFeatures: usedFeatures.filter((feature) => adapter.features.has(feature)) as GPUFeatureName[],
  });
  const name = adapterName(adapter);
  let failure: Error | null = null;
  const gpu: Gpu = {
    device,
    name,
    matrices: subgroupMatricesOf(adapter),
    fail(found) {
      failure ??= found;
    },
    check() {
      if (failure !== null) throw failure;
    },
  };
  device.addEventListener("uncapturederror", ({ error }) => gpu.fail(new Error(`${name}: ${error.message}`)));
  void device.lost.then(({ reason, message }) => gpu.fail(new DeviceLostError(name, message || reason)));
  return gpu;
}

/** Such as "nvidia geforce rtx 4090": dawn gives names in lower case with hyphens, where the driver gives one at all. */
export function adapterName({ info }: GPUAdapter): string {
  const { vendor, architecture, device, description } = info;
  const name = device.replaceAll("-", " ").trim() || description || `${vendor} ${architecture}`;
  return info.isFallbackAdapter ? `${name} (software)` : name;
}

/** Loads the binary for this platform, and defines the constants of WebGPU's own globals, as a browser would. */
async function loadDawn(): Promise<{ readonly create: typeof Create; readonly globals: typeof Globals }> {
  try {
    const dawn = await import("webgpu");
    Object.assign(globalThis, dawn.globals);
    return dawn;
  } catch (cause) {
    throw new DeviceUnavailableError(`WebGPU is not built for this platform (${process.platform} ${process.arch})`, {
      cause,
    });
  }
}
