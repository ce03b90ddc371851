/** Opens a device by the name of its back end. Back ends are loaded when they are asked for. */
import type { Device } from "./kernels.ts";
import type { OpenOptions } from "./worker-protocol.ts";

export async function openDevice({ backend, threads }: Pick<OpenOptions, "backend" | "threads">): Promise<Device> {
  if (backend === "reference") {
    const { createReferenceDevice } = await import("./backends/reference/device.ts");
    return createReferenceDevice();
  }
  if (backend === "webgpu") {
    const { createWebGpuDevice } = await import("./backends/webgpu/device.ts");
    return createWebGpuDevice();
  }
  const { createNativeDevice } = await import("./backends/native/device.ts");
  return createNativeDevice({ threads });
}
