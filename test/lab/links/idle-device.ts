import type { DeviceReport } from "../../../src/protocol/device-report.ts";

/** Large enough for a place of the smallest model; it never computes. */
export const idleDevice: DeviceReport = {
  platform: "idle",
  cpu: "idle",
  cores: 1,
  memoryBytes: 1 << 30,
  memoryLimitBytes: 1 << 30,
  maximumStages: 1,
  backend: "reference",
  precision: "f32",
  adapter: null,
  blockTokensPerSecond: null,
};
