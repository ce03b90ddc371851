/**
 * Watches what crosses stage boundaries: a run that diverges shows it there first, in the norm of the stream. On an alarm the next
 * epochs send more bits, until it has been calm for a while; each alarm makes that while twice as long.
 *
 * A stage's norm runs away when it is further above the median of its own last epochs than six deviations, which are taken from the
 * median of the distances (Hampel 1974; 1.4826 makes it a normal distribution's deviation) and on a logarithmic scale, since norms
 * grow by factors. Steady growth, as in a run's first epochs, widens the deviation with it; and less than four times the median is no alarm.
 */
import type { BoundaryHealth } from "../../../protocol/client-messages.ts";
import type { BoundaryFormats, RowFormat } from "../../../protocol/run-config.ts";
import type { BoundaryAlarm } from "../../../protocol/run-view.ts";
import type { RunDefinition } from "./definition.ts";
import { wantedFormats } from "./planning.ts";
import { type Replica, stageName } from "./state.ts";
import type { Turn } from "./turn.ts";

export interface BoundaryWatch {
  /** What is sent in the current epoch. */
  readonly formats: BoundaryFormats;
  /** Merged epochs since the last alarm. */
  readonly calmEpochs: number;
  /** Times that more bits were called for. */
  readonly raises: number;
  /** By stage, logarithms of the norms of its last epochs, latest last. */
  readonly history: readonly (readonly number[])[];
  /** By stage, of the last epoch; null: it sends nothing on, or nobody said. */
  readonly last: readonly (BoundaryHealth | null)[];
  /** The last ones, latest last. */
  readonly alarms: readonly BoundaryAlarm[];
}

const keptEpochs = 16;
/** Of these a median says something. */
const fewestEpochs = 5;
const alarmingDeviations = 6;
const normalDeviation = 1.4826;
/** A small model may well double its norm within few epochs when it has just begun. */
const leastFactor = 4;
/** Near 2⁴⁸, rows are not encoded any more (`src/compute/codec/rows.ts`). */
const hugeRms = 2 ** 40;
const keptAlarms = 50;
/** After the first alarm, and at most. */
const firstCalmEpochs = 8;
const mostCalmEpochs = 512;

/** Ever more bits. Beyond bf16 nothing that rounding could do is to blame. */
const ladder: readonly RowFormat[] = ["int2", "int4", "int8", "bf16"];

/**
 * About twice what is rounded away of normally distributed values, which a rotated row's nearly are (Max 1960, table I: 0.34 at two
 * bits, 0.11 at four).
 */
const mostRelativeError: Readonly<Record<RowFormat, number>> = {
  f32: 0.001,
  bf16: 0.01,
  int8: 0.05,
  int4: 0.25,
  int2: 0.6,
};

export function watchFrom({ training, stages }: Pick<RunDefinition, "training" | "stages">): BoundaryWatch {
  return {
    formats: training.compression.boundary,
    calmEpochs: 0,
    raises: 0,
    history: Array.from({ length: stages }, () => []),
    last: Array.from({ length: stages }, () => null),
    alarms: [],
  };
}

/** An epoch is merged: what its replicas said decides what the next one sends. */
export function watchBoundaries(turn: Turn, replicas: readonly (readonly Replica[])[]): void {
  const { epoch, boundaryWatch: before } = turn.state;
  const last = replicas.map((ofStage) => healthOf(ofStage));
  const alarms = last.flatMap((health, stage): BoundaryAlarm[] => {
    const kind = health && alarmOf(health, before.formats.forward, before.history[stage] ?? []);
    return kind ? [{ stage, epoch, atMs: turn.atMs, kind }] : [];
  });
  const history = before.history.map((logs, stage) => {
    const rms = last[stage]?.rms ?? 0;
    return rms > 0 ? [...logs, Math.log(rms)].slice(-keptEpochs) : logs;
  });
  const watched = { ...before, last, history, alarms: [...before.alarms, ...alarms].slice(-keptAlarms) };
  const configured = wantedFormats(turn.state);
  turn.change({ boundaryWatch: alarms.length > 0 ? raised(watched, alarms) : calmed(watched, configured) });
  for (const { stage, kind } of alarms) turn.log("warning", `${stageName(turn.state, stage)}: ${words[kind]}.`);
  const { formats } = turn.state.boundaryWatch;
  if (formats.forward !== before.formats.forward || formats.backward !== before.formats.backward)
    turn.log("info", `Boundaries are crossed in ${formats.forward}, and back in ${formats.backward}, from now on.`);
}

const words: Readonly<Record<BoundaryAlarm["kind"], string>> = {
  "not-finite": "the values that it sends on are too large to be rounded",
  runaway: "the norm of what it sends on runs away",
  rounding: "more of what it sends on is rounded away than should be",
};

/** The replicas' median: one that measures wrongly is outvoted where there are three. */
function healthOf(replicas: readonly Replica[]): BoundaryHealth | null {
  const said = replicas.flatMap(({ contribution }) => contribution?.boundary ?? []);
  if (said.length === 0) return null;
  return {
    rms: median(said.map(({ rms }) => rms)),
    relativeError: median(said.map(({ relativeError }) => relativeError)),
  };
}

function alarmOf(
  { rms, relativeError }: BoundaryHealth,
  format: RowFormat,
  history: readonly number[],
): BoundaryAlarm["kind"] | null {
  if (rms >= hugeRms) return "not-finite";
  if (history.length >= fewestEpochs && rms > 0) {
    const usual = median(history);
    const deviation = normalDeviation * median(history.map((log) => Math.abs(log - usual)));
    if (Math.log(rms) - usual > Math.max(Math.log(leastFactor), alarmingDeviations * deviation)) return "runaway";
  }
  return relativeError > mostRelativeError[format] ? "rounding" : null;
}

/** What is rounded away on the way forward is known; where else a divergence came from is not. */
function raised(watch: BoundaryWatch, alarms: readonly BoundaryAlarm[]): BoundaryWatch {
  const { forward, backward } = watch.formats;
  const isRoundingOnly = alarms.every(({ kind }) => kind === "rounding");
  const formats = { forward: withMoreBits(forward), backward: isRoundingOnly ? backward : withMoreBits(backward) };
  return { ...watch, formats, calmEpochs: 0, raises: watch.raises + 1 };
}

function withMoreBits(format: RowFormat): RowFormat {
  const rung = ladder.indexOf(format);
  return (rung === -1 ? undefined : ladder[rung + 1]) ?? format;
}

function calmed(watch: BoundaryWatch, configured: BoundaryFormats): BoundaryWatch {
  const calmEpochs = watch.calmEpochs + 1;
  const enough = watch.raises === 0 ? 0 : Math.min(mostCalmEpochs, firstCalmEpochs * 2 ** (watch.raises - 1));
  return { ...watch, calmEpochs, formats: calmEpochs >= enough ? configured : watch.formats };
}

/** Of at least one; the mean of the two in the middle of an even number. */
function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.ceil(middle) - 1] ?? 0) + (sorted[Math.floor(middle)] ?? 0)) / 2;
}
