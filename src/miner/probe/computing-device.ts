import { isSameDevice } from "../../compute/probe/choose-device.ts";
import type { DeviceChoice } from "../../protocol/device-report.ts";
import type { Log } from "../log.ts";
import type { ComputingDevice } from "../machine.ts";
import { type KnownDevicesOptions, knownDevices } from "./known-devices.ts";

export interface ComputingDeviceOptions extends KnownDevicesOptions {
  /** What the person asked for. */
  readonly told: DeviceChoice | null;
  readonly log: Log;
}

/**
 * What a daemon computes on: as it was told, or what the probe chose. The first probe of a machine takes some ten seconds, later
 * starts the time to ask the drivers whether anything has changed.
 */
export async function computingDevice({ told, log, ...options }: ComputingDeviceOptions): Promise<ComputingDevice> {
  if (told !== null) return { ...told, blockTokensPerSecond: null };
  const say = (text: string) => log.write("info", "devices", text);
  const { devices, chosen, why } = await knownDevices({ ...options, onProgress: say });
  for (const device of devices)
    if (device.verdict === "refused")
      log.write("warning", "devices", `${device.name} in ${device.precision} is not used: ${device.reason}`);
  const computing = devices.find((device) => device.verdict === "passed" && isSameDevice(device, chosen));
  if (computing?.verdict !== "passed") {
    log.write("warning", "devices", why);
    return { ...chosen, blockTokensPerSecond: null };
  }
  say(`Computing on ${computing.name} in ${computing.precision}. ${why}`);
  return { ...chosen, blockTokensPerSecond: computing.blockTokensPerSecond };
}
