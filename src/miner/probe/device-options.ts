import type { DeviceOptions } from "../../compute/device.ts";
import type { DeviceChoice } from "../../protocol/device-report.ts";

/** The choice as compute workers take it. */
export function deviceOptions({ backend, precision, adapter }: DeviceChoice, threads: number): DeviceOptions {
  return { backend, precision, threads, ...(adapter !== null && { adapter }) };
}
