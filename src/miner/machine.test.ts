import { spawn } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { describe, expect, it } from "vitest";
import { deviceReportSchema } from "../protocol/device-report.ts";
import { readSensors, reportDevice, residentBytes } from "./machine.ts";

describe("machine", () => {
  it("reports itself in the shape that the network takes", () => {
    const report = reportDevice(
      { memoryLimitBytes: 1 << 30, maximumStages: 2 },
      {
        backend: "native",
        precision: "bf16",
        adapter: null,
        blockTokensPerSecond: 9000,
      },
    );
    expect(deviceReportSchema.parse(report)).toEqual(report);
    expect(report.memoryBytes).toBeGreaterThan(report.cores);
  });

  it("reads room on disk, and nothing where there is no disk", () => {
    expect(readSensors(tmpdir()).freeDiskBytes).toBeGreaterThan(0);
    expect(readSensors("/nowhere/at/all").freeDiskBytes).toBeNull();
  });

  it.skipIf(process.platform === "win32")(
    "counts the memory of other processes while they live (not read on Windows)",
    async () => {
      const child = spawn(process.execPath, ["-e", "process.stdout.write('up'); process.stdin.resume()"]);
      await once(child.stdout, "data");
      const pids = child.pid === undefined ? [] : [child.pid];
      const ownBytes = await residentBytes([]);
      expect(await residentBytes(pids)).toBeGreaterThan(ownBytes + (8 << 20));
      child.kill("SIGKILL");
      await once(child, "exit");
      expect(await residentBytes(pids)).toBeLessThan(ownBytes * 2);
    },
  );
});
