/** What the runs of all experiments say: losses, gaps to what they are held against, and what crossed. */
import { mean, rounded, verdictOf } from "../shared/report.ts";
import { baselineName, type Experiment, frontierIntervals, mergingName } from "./experiments.ts";
import type { PlotSeries } from "./frontier-plot.ts";
import type { Measured } from "./measure-experiment.ts";
import type { Outcome, Schedule } from "./schedule.ts";

/** In percent of the other's loss. Each seed is compared with itself: both had the same start and the same samples. */
export interface Gap {
  readonly mean: number;
  readonly lowest: number;
  readonly highest: number;
}

export interface Row {
  readonly experiment: Experiment;
  readonly learningRate: number;
  /** Those that did not diverge. */
  readonly lossesNats: ReadonlyMap<number, number>;
  readonly diverged: number;
  /** Null: there is no seed with which both were measured. */
  readonly gapToOneProcess: Gap | null;
  /** To the same schedule with merges in f32. */
  readonly gapToUncompressed: Gap | null;
  /** Of the payloads of a merge, both ways, next to f32; null: nothing is merged. */
  readonly ratio: number | null;
  /** By each replica, mean over the steps. */
  readonly sentBytesPerParameterAndStep: number | null;
}

export function rowsOf(measured: ReadonlyMap<Experiment, Measured<Outcome>>): readonly Row[] {
  const losses = new Map([...measured].map(([{ name }, { results }]) => [name, lossesOf(results)]));
  return [...measured].map(([experiment, { learningRate, results }]): Row => {
    const own = lossesOf(results);
    const gapTo = (name: string | null) => gapBetween(own, (name === null ? null : losses.get(name)) ?? new Map());
    const [outcome] = results.values();
    return {
      experiment,
      learningRate,
      lossesNats: own,
      diverged: results.size - own.size,
      gapToOneProcess: gapTo(baselineName),
      gapToUncompressed: gapTo(uncompressedName(experiment.schedule)),
      ratio: outcome === undefined ? null : ratioOf(outcome),
      sentBytesPerParameterAndStep: outcome === undefined ? null : sentBytes(experiment.schedule, outcome),
    };
  });
}

/** As one object of the summary. */
export function rowResult(row: Row) {
  const { experiment, learningRate, lossesNats, ...more } = row;
  const { target } = experiment;
  const gap = target?.gapTo === "uncompressed" ? row.gapToUncompressed : row.gapToOneProcess;
  return {
    name: experiment.name,
    sets: experiment.sets,
    learningRate: rounded(learningRate, 6),
    lossNats: rounded(mean([...lossesNats.values()]), 4),
    lossesNats: Object.fromEntries([...lossesNats].map(([seed, loss]) => [seed, rounded(loss, 4)])),
    ...more,
    ...(target && { target, verdict: verdictOf(gap?.mean ?? null, target) }),
  };
}

/** The frontier at each of its intervals, as it is drawn. */
export function frontierSeries(rows: readonly Row[]): readonly PlotSeries[] {
  return frontierIntervals.map((stepsPerEpoch) => ({
    name: `merged every ${stepsPerEpoch} steps`,
    points: frontierRows(rows, stepsPerEpoch).flatMap(({ experiment, ratio, gapToUncompressed: gap }) =>
      ratio === null || gap === null ? [] : [{ label: codecName(experiment), ratio, gap }],
    ),
  }));
}

/** By ratio. */
function frontierRows(rows: readonly Row[], stepsPerEpoch: number): readonly Row[] {
  const isOfIt = ({ experiment: { schedule, sets } }: Row) =>
    sets.includes("frontier") && schedule.kind === "replicas" && schedule.stepsPerEpoch === stepsPerEpoch;
  return rows.filter(isOfIt).toSorted((a, b) => (a.ratio ?? 1) - (b.ratio ?? 1));
}

/** As merges are named: the last part of it. */
function codecName({ name }: Experiment): string {
  return name.split(", ").at(-1) ?? name;
}

export function gapBetween(own: ReadonlyMap<number, number>, other: ReadonlyMap<number, number>): Gap | null {
  const gaps = [...own].flatMap(([seed, loss]) => {
    const otherLoss = other.get(seed);
    return otherLoss === undefined ? [] : [100 * (loss / otherLoss - 1)];
  });
  if (gaps.length === 0) return null;
  return {
    mean: rounded(mean(gaps), 2),
    lowest: rounded(Math.min(...gaps), 2),
    highest: rounded(Math.max(...gaps), 2),
  };
}

function lossesOf(results: ReadonlyMap<number, Outcome>): ReadonlyMap<number, number> {
  return new Map([...results].flatMap(([seed, { lossNats }]) => (lossNats === null ? [] : [[seed, lossNats]])));
}

/** Null: the schedule has no such counterpart. */
function uncompressedName(schedule: Schedule): string | null {
  return schedule.kind === "replicas" && schedule.mode === "local-steps" && schedule.exchange === null
    ? mergingName(schedule.replicas, schedule.stepsPerEpoch, "f32")
    : null;
}

function ratioOf({ contributionBytesPerParameter: up, averageBytesPerParameter: down }: Outcome): number | null {
  return up === null || down === null ? null : rounded((2 * Float32Array.BYTES_PER_ELEMENT) / (up + down), 1);
}

/**
 * As docs/protocol.md counts it: of a merge each replica sends its slices to the two owners of each, and serves its share of the
 * averages; of an exchanged step it sends to all others.
 */
function sentBytes(schedule: Schedule, outcome: Outcome): number | null {
  if (schedule.kind !== "replicas") return null;
  const { replicas, stepsPerEpoch } = schedule;
  const { contributionBytesPerParameter: up, averageBytesPerParameter: down, exchangeBytesPerParameter } = outcome;
  const merge = (2 - 2 / replicas) * (up ?? 0) + (1 - 2 / replicas) * (down ?? 0);
  const exchangedSteps = 1 - 1 / stepsPerEpoch;
  const exchange = (replicas - 1) * (exchangeBytesPerParameter ?? 0) * exchangedSteps;
  return rounded(merge / stepsPerEpoch + exchange, 4);
}
