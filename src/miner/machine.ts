/** What the operating system says about this machine and its processes. */
import { execFile } from "node:child_process";
import { readFileSync, statfsSync } from "node:fs";
import { arch, availableParallelism, cpus, platform, release, totalmem } from "node:os";
import { promisify } from "node:util";
import type { DeviceChoice, DeviceReport } from "../protocol/device-report.ts";
import type { Sensors } from "./policy.ts";

const run = promisify(execFile);

/** What computes here, and how fast. */
export type ComputingDevice = DeviceChoice & Pick<DeviceReport, "blockTokensPerSecond">;

/** What the machine's owner allows. */
type Limits = Pick<DeviceReport, "memoryLimitBytes" | "maximumStages">;

export function reportDevice({ memoryLimitBytes, maximumStages }: Limits, computing: ComputingDevice): DeviceReport {
  return {
    platform: `${platform()} ${arch()} ${release()}`.slice(0, 64),
    cpu: (cpus()[0]?.model.trim() || "unknown processor").slice(0, 128),
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    memoryLimitBytes,
    maximumStages,
    ...computing,
  };
}

/** What can be read at once; whether the connection is metered takes longer to find out (`probe/metered.ts`). */
export function readSensors(stateFolder: string): Omit<Sensors, "metered"> {
  return {
    // macOS reports only pages that nothing uses, and so next to none on a healthy machine.
    freeMemoryBytes: platform() === "darwin" ? null : process.availableMemory(),
    freeDiskBytes: freeDiskBytes(stateFolder),
  };
}

/** Bytes that this user may still write where `folder` is; null when that cannot be read. */
function freeDiskBytes(folder: string): number | null {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  } catch {
    return null; // the folder is gone, or the file system does not say
  }
}

/** Resident bytes of this process and `others`, where the system lets them be read cheaply; else of this process alone. */
export async function residentBytes(others: readonly number[]): Promise<number> {
  return process.memoryUsage.rss() + (others.length === 0 ? 0 : await residentBytesOf(others));
}

async function residentBytesOf(pids: readonly number[]): Promise<number> {
  if (platform() === "linux") return pids.reduce((sum, pid) => sum + linuxResidentBytes(pid), 0);
  if (platform() === "win32") return 0;
  // Fails when one of the processes has just ended; the next reading is soon.
  const output = await run("ps", ["-o", "rss=", "-p", pids.join(",")]).catch(() => ({ stdout: "" }));
  return output.stdout.split("\n").reduce((sum, kibibytes) => sum + Number(kibibytes) * 1024, 0);
}

function linuxResidentBytes(pid: number): number {
  try {
    const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return Number(kibibytes ?? 0) * 1024;
  } catch {
    return 0; // it has just ended
  }
}
