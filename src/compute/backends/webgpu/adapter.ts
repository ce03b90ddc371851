/** Finding a GPU: the only file that touches the `webgpu` package itself. */
import type { create as Create, globals as Globals } from "webgpu";
import { DeviceLostError, DeviceUnavailableError } from "../../kernels.ts";

export interface AdapterChoice {
  /** Part of the name of the adapter to use; by default the environment's TAH_GPU, and without it the one that WebGPU prefers. */
  readonly adapter?: string;
  /** Where no name is given. */
  readonly powerPreference?: GPUPowerPreference;
}

/** An open GPU, and what went wrong with it. */
export interface Gpu {
  readonly device: GPUDevice;
  /** What a person would call it, such as "nvidia geforce rtx 4090". */
  readonly name: string;
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
 * Workgroup memory would be set to zero before every group runs. No program reads what it has not written, and without
 * it software compiles them eight times, and runs them one and a half times as fast.
 */
const noWorkgroupInit = "enable-dawn-features=disable_workgroup_init";

/** Throws `DeviceUnavailableError`; with the adapters that there are where one was asked for by name. */
export async function findAdapter({
  adapter: wanted = process.env.TAH_GPU,
  powerPreference = "high-performance",
}: AdapterChoice): Promise<GPUAdapter> {
  const dawn = await loadDawn();
  const flags = [noWorkgroupInit, ...(wanted ? [`adapter=${wanted}`] : [])];
  const key = flags.join();
  const instance = instances.get(key) ?? dawn.create(flags);
  try {
    const adapter = await instance.requestAdapter({ powerPreference });
    if (adapter !== null) {
      instances.set(key, instance);
      return adapter;
    }
  } catch (cause) {
    throw new DeviceUnavailableError(cause instanceof Error ? cause.message : String(cause), { cause });
  }
  throw new DeviceUnavailableError("no GPU with a Vulkan, Metal or Direct3D 12 driver was found");
}

/** Opens the adapter with the largest buffers that it allows. */
export async function openGpu(adapter: GPUAdapter): Promise<Gpu> {
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  const device = await adapter.requestDevice({ requiredLimits: { maxBufferSize, maxStorageBufferBindingSize } });
  const name = adapterName(adapter);
  let failure: Error | null = null;
  const gpu: Gpu = {
    device,
    name,
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
