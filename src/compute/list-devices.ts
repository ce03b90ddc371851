/** Finds the devices of this machine, each in all of its precisions. A driver may crash or hang in here: it runs in a compute worker. */
import type { DetectedDevice } from "../protocol/device-probe.ts";
import type { DeviceKind, Precision } from "./kernels.ts";

/** None where this machine has no such device, or no driver for it. */
export async function listDevices(backend: DeviceKind): Promise<readonly DetectedDevice[]> {
  switch (backend) {
    case "reference":
      return [];
    case "native":
      return await listProcessor();
    case "webgpu":
      return await listGpus();
  }
}

async function listProcessor(): Promise<readonly DetectedDevice[]> {
  const { nativeAvailability } = await import("./backends/native/device.ts");
  const precisions: readonly Precision[] = ["f32", "bf16"];
  return precisions.flatMap((precision) => {
    const found = nativeAvailability(precision);
    if (!found.available) return [];
    const { description: name, instructionSet: driver } = found;
    return { backend: "native" as const, precision, adapter: null, name, driver, software: false };
  });
}

async function listGpus(): Promise<readonly DetectedDevice[]> {
  const { listAdapters } = await import("./backends/webgpu/adapter.ts");
  return (await listAdapters()).flatMap(({ name, driver, software, precisions }) =>
    precisions.map((precision) => ({ backend: "webgpu" as const, precision, adapter: name, name, driver, software })),
  );
}
