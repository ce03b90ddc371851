/** Opens a device by the name of its back end. Back ends are loaded when they are asked for. */
import { type Device, type DeviceKind, DeviceUnavailableError, type Precision } from "./kernels.ts";
import type { OpenOptions } from "./worker-protocol.ts";

/** What a back end is written for; whether this machine's processor or GPU has it is another matter. */
const precisionsOf: Readonly<Record<DeviceKind, readonly Precision[]>> = {
  reference: ["f32"],
  native: ["f32", "bf16"],
  webgpu: ["f32", "f16"],
};

export type DeviceOptions = Pick<OpenOptions, "backend" | "threads" | "precision" | "adapter">;

/** Throws `DeviceUnavailableError` where this machine's back end does not compute in the precision asked for. */
export async function openDevice({ backend, threads, precision = "f32", adapter }: DeviceOptions): Promise<Device> {
  if (!precisionsOf[backend].includes(precision))
    throw new DeviceUnavailableError(`the ${backend} back end does not compute in ${precision}`);
  if (backend === "reference") {
    const { createReferenceDevice } = await import("./backends/reference/device.ts");
    return createReferenceDevice();
  }
  if (backend === "webgpu") {
    const { createWebGpuDevice } = await import("./backends/webgpu/device.ts");
    return createWebGpuDevice({ precision, adapter });
  }
  const { createNativeDevice } = await import("./backends/native/device.ts");
  return createNativeDevice({ threads, precision });
}
