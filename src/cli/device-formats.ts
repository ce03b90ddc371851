/** How a probe's findings read in a terminal. */
import { isSameDevice } from "../compute/probe/choose-device.ts";
import type { KnownDevices } from "../miner/probe/known-devices.ts";
import type { PassedDevice } from "../protocol/device-probe.ts";
import { countText } from "./formats.ts";

const headings = ["", "device", "precision", "self-test", "tokens/s", "GFLOP/s"] as const;

export function devicesText({ devices, chosen, why, threads, measuredAtMs, remembered }: KnownDevices): string {
  const rows = devices.map((device) => [
    isSameDevice(device, chosen) ? "→" : "",
    device.name,
    device.precision,
    ...(device.verdict === "passed" ? measurements(device) : ["refused", "–", "–"]),
  ]);
  const refusals = devices.flatMap((device) =>
    device.verdict === "refused" ? [`${device.name} in ${device.precision} is refused: ${device.reason}`] : [],
  );
  const when = remembered
    ? `Measured on ${new Date(measuredAtMs).toISOString().slice(0, 10)}, and nothing has changed since; --fresh measures again.`
    : "tokens/s: one block, forward and backward, through a compute worker.";
  const threadsText = threads === 1 ? "1 processor thread" : `${threads} processor threads`;
  return [
    ...table([headings, ...rows]),
    ...refusals,
    `Chosen: ${chosen.adapter ?? chosen.backend} in ${chosen.precision}. ${why}`,
    `With ${threadsText}. ${when}`,
  ].join("\n");
}

function measurements({ worst, blockTokensPerSecond, gemmGflops }: PassedDevice): readonly string[] {
  return [
    `off by ${worst.error.toExponential(0)}`,
    countText(blockTokensPerSecond),
    gemmGflops.toFixed(gemmGflops < 10 ? 1 : 0),
  ];
}

function table(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = headings.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}
