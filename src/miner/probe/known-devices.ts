/**
 * What is known about this machine's devices: `devices.json` in the state folder as long as nothing has changed that a
 * measurement depends on, else a new probe.
 */
import { cpus, platform, release } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import manifest from "../../../package.json" with { type: "json" };
import { chooseDevice } from "../../compute/probe/choose-device.ts";
import { readFileIfPresent, writeFileAtomically } from "../../disk/atomic-file.ts";
import {
  type DetectedDevice,
  type DeviceProbe,
  type DeviceResult,
  detectedDeviceSchema,
  deviceProbeSchema,
} from "../../protocol/device-probe.ts";
import { parseJson } from "../json.ts";
import { openStateFolder } from "../store/state-folder.ts";
import { detectDevices, type ExaminedDevice, examineDevices, type ProbeOptions } from "./probe-devices.ts";

/** What a measurement depends on. */
const machineSchema = z.strictObject({
  version: z.string(),
  system: z.string(),
  cpu: z.string(),
  threads: z.int(),
  devices: z.array(detectedDeviceSchema).readonly(),
});
type Machine = z.infer<typeof machineSchema>;

const fileSchema = z.strictObject({ machine: machineSchema, probe: deviceProbeSchema });

export interface KnownDevices extends DeviceProbe {
  /** Whether this is from an earlier probe. */
  readonly remembered: boolean;
}

export interface KnownDevicesOptions extends ProbeOptions {
  readonly stateFolder: string;
  /** Probes again in any case. */
  readonly fresh?: boolean;
}

/** Rejects with the signal's reason, and with `FailureError` file-unreadable, disk-full. */
export async function knownDevices(options: KnownDevicesOptions): Promise<KnownDevices> {
  const { stateFolder, threads, fresh = false } = options;
  openStateFolder(stateFolder);
  const { devices, failed } = await detectDevices(options);
  const machine = describeMachine(devices, threads);
  const stored = readStored(stateFolder);
  if (!fresh && stored !== undefined && isDeepStrictEqual(stored.machine, machine))
    return { ...stored.probe, remembered: true };
  const examined = await examineDevices(devices, { ...options, measure: true });
  const results = [...examined.map(resultOf), ...failed];
  const probe = {
    devices: results,
    ...chooseDevice(results, stored?.probe.chosen ?? null),
    threads,
    measuredAtMs: Date.now(),
  };
  // Where nothing passed, something may just have been in the way: the next start looks again.
  if (results.some(({ verdict }) => verdict === "passed"))
    writeFileAtomically(pathIn(stateFolder), `${JSON.stringify({ machine, probe }, null, 2)}\n`);
  return { ...probe, remembered: false };
}

function describeMachine(devices: readonly DetectedDevice[], threads: number): Machine {
  const cpu = cpus()[0]?.model.trim() ?? "";
  return { version: manifest.version, system: `${platform()} ${release()}`, cpu, threads, devices };
}

/** A file that makes no sense, or is of another version, counts as none: it is written anew. */
function readStored(folder: string): z.infer<typeof fileSchema> | undefined {
  return fileSchema.safeParse(parseJson(readFileIfPresent(pathIn(folder)) ?? "")).data;
}

function resultOf({ device, test, speed }: ExaminedDevice): DeviceResult {
  if (!test.passed) return { ...device, verdict: "refused", reason: test.reason };
  if (speed === null) throw new Error("a device that passed is measured");
  const { worst, lossDeviation } = test;
  return { ...device, verdict: "passed", worst, lossDeviation, ...speed };
}

function pathIn(folder: string): string {
  return join(folder, "devices.json");
}
