/** Opens a device by the name of its back end. Back ends are loaded when they are asked for. */
import { type Device, DeviceUnavailableError } from "./kernels.ts";
import type { OpenOptions } from "./worker-protocol.ts";

export type DeviceOptions = Pick<OpenOptions, "backend" | "threads" | "precision">;

/** Throws `DeviceUnavailableError` where this machine's back end does not compute in the precision asked for. */
export async function openDevice({ backend, threads, precision = "f32" }: DeviceOptions): Promise<Device> {
  if (backend !== "native" && precision !== "f32")
    throw new DeviceUnavailableError(`the ${backend} back end does not compute in ${precision}`);
  if (backend === "reference") {
    const { createReferenceDevice } = await import("./backends/reference/device.ts");
    return createReferenceDevice();
  }
  if (backend === "webgpu") {
    const { createWebGpuDevice } = await import("./backends/webgpu/device.ts");
    return createWebGpuDevice();
  }
  const { createNativeDevice } = await import("./backends/native/device.ts");
  return createNativeDevice({ threads, precision });
}
