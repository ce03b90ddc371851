/** Which device a machine trains on, from what the probe found. Pure. */

import type { DeviceResult, PassedDevice } from "../../protocol/device-probe.ts";
import type { DeviceChoice } from "../../protocol/device-report.ts";

/** Devices this much slower than the fastest count as fast as it: that is how far two measurements of one device lie apart. */
const tieShare = 0.1;

export interface Decision {
  readonly chosen: DeviceChoice;
  /** One sentence. */
  readonly why: string;
}

/**
 * The fastest of those that passed. Among equals the one of last time, so that the choice does not flap; then exactness before
 * rounding, and hardware before software. The reference back end where none passed.
 */
export function chooseDevice(results: readonly DeviceResult[], last: DeviceChoice | null): Decision {
  const passed = results.filter((result) => result.verdict === "passed");
  const fastest = passed.toSorted((a, b) => b.blockTokensPerSecond - a.blockTokensPerSecond)[0];
  if (fastest === undefined)
    return {
      chosen: { backend: "reference", precision: "f32", adapter: null },
      why: "No device passed: the reference back end computes rightly, and very slowly.",
    };
  const equals = passed.filter((one) => one.blockTokensPerSecond >= (1 - tieShare) * fastest.blockTokensPerSecond);
  /** f32 rounds nothing; hardware leaves the processor to the person. */
  const preference = (one: PassedDevice) =>
    (isSameDevice(one, last) ? 4 : 0) + (one.precision === "f32" ? 2 : 0) + (one.software ? 0 : 1);
  const [best = fastest] = equals.toSorted((a, b) => preference(b) - preference(a));
  return { chosen: choiceOf(best), why: reasonFor(best, fastest, passed.length, last) };
}

export function isSameDevice(one: DeviceChoice, other: DeviceChoice | null): boolean {
  return one.backend === other?.backend && one.precision === other.precision && one.adapter === other.adapter;
}

function choiceOf({ backend, precision, adapter }: PassedDevice): DeviceChoice {
  return { backend, precision, adapter };
}

function reasonFor(best: PassedDevice, fastest: PassedDevice, count: number, last: DeviceChoice | null): string {
  if (count === 1) return "It is the only one that passed.";
  if (best === fastest) return `It is the fastest of the ${count} that passed.`;
  const { name, precision } = fastest;
  const advantage = isSameDevice(best, last) ? "was chosen before" : "is preferred among equals";
  return `It ${advantage}: ${name} in ${precision} is less than ${100 * tieShare} % faster.`;
}
