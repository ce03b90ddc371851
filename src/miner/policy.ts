/**
 * When this machine may train: what the person asked for, and what the machine can bear. A pure function of its inputs;
 * further rules (idle, power, schedule) are further entries of `rules`.
 */
import type { ConnectionRules, MachineView } from "../protocol/machine-view.ts";

/** What the person asked for. */
export interface Wishes extends Pick<ConnectionRules, "onMetered"> {
  readonly intent: MachineView["intent"];
}

export interface Sensors {
  /** Null where it cannot be read. */
  readonly freeMemoryBytes: number | null;
  /** In the state folder. Null where it cannot be read. */
  readonly freeDiskBytes: number | null;
  /** Null where it is not known, and where nothing leaves this computer. */
  readonly metered: boolean | null;
}

/** `reason` is shown to people: one sentence that says what would end a suspension. Empty while it may run. */
export type Decision =
  | { readonly kind: "run"; readonly reason: "" }
  /** Not before `untilMs` is it looked at again, unless the person changes the intent: training itself changes what the sensors say. */
  | { readonly kind: "suspend"; readonly reason: string; readonly untilMs: number };

type Rule = (wishes: Wishes, sensors: Sensors) => { reason: string; holdMs: number } | null;

export const minimumFreeMemoryBytes = 256 << 20;
export const minimumFreeDiskBytes = 512 << 20;
const holdMs = 60_000;

/** In order of precedence: the first that objects gives the reason. */
const rules: readonly Rule[] = [
  ({ intent }) => (intent === "pause" ? { reason: "Paused by you. Start resumes.", holdMs: 0 } : null),
  ({ onMetered }, { metered }) =>
    onMetered === "pause" && metered === true
      ? {
          reason: "Paused: this connection is metered. Resumes on another one, or when metered ones are allowed.",
          holdMs: 0,
        }
      : null,
  (_wishes, { freeDiskBytes }) =>
    freeDiskBytes !== null && freeDiskBytes < minimumFreeDiskBytes
      ? { reason: "Paused: less than 512 MiB of disk space is free. Resumes when there is more.", holdMs }
      : null,
  (_wishes, { freeMemoryBytes }) =>
    freeMemoryBytes !== null && freeMemoryBytes < minimumFreeMemoryBytes
      ? { reason: "Paused: less than 256 MiB of memory is free. Resumes when there is more.", holdMs }
      : null,
];

export function decide(wishes: Wishes, sensors: Sensors, nowMs: number, previous: Decision | null): Decision {
  for (const rule of rules) {
    const objection = rule(wishes, sensors);
    if (objection !== null) return { kind: "suspend", reason: objection.reason, untilMs: nowMs + objection.holdMs };
  }
  if (previous?.kind === "suspend" && nowMs < previous.untilMs) return previous;
  return { kind: "run", reason: "" };
}
