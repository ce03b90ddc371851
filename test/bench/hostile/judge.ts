/** What an attack cost, and whether that is little enough. */
import { mean, rounded, type Verdict } from "../shared/report.ts";
import type { ProcessorSeconds } from "../swarm/processor-time.ts";
import type { Attack } from "./attacks.ts";
import type { Reading } from "./hostile-swarm.ts";

/** Of the undisturbed tokens per second. */
const throughputAtLeast = 0.95;
/** A process may grow by so much. */
const growthAtMostBytes = 256 << 20;

/** One epoch. */
export interface Window {
  readonly from: Reading;
  readonly to: Reading;
}

export interface Observation {
  /** In turn, beginning and ending undisturbed: one more of these than of those. */
  readonly undisturbed: readonly Window[];
  readonly attacked: readonly Window[];
  readonly attempts: number;
  readonly crashes: readonly string[];
  readonly logLines: number;
}

export interface AttackResult {
  readonly attack: string;
  readonly about: string;
  readonly attemptsPerSecond: number;
  readonly tokensPerSecond: { readonly undisturbed: number; readonly attacked: number };
  /** Of each attacked epoch against the two beside it, the mean; and what one epoch may be off by. */
  readonly throughput: number;
  readonly standardError: number;
  /** Of one processor, per 1,000 tokens. */
  readonly processorSeconds: { readonly undisturbed: Cost; readonly attacked: Cost };
  readonly growthBytes: { readonly network: number; readonly miner: number };
  readonly refusals: Readonly<Record<string, number>>;
  readonly logLines: number;
  readonly failures: readonly string[];
  readonly verdict: Verdict;
}

interface Cost {
  readonly network: number;
  readonly miners: number;
}

export function judge({ name, about, refusedAs }: Attack, observation: Observation): AttackResult {
  const { undisturbed, attacked, attempts, crashes, logLines } = observation;
  const shares = attacked.map((window, index) => {
    const beside = undisturbed.slice(index, index + 2).map(tokensPerSecond);
    return tokensPerSecond(window) / mean(beside);
  });
  const throughput = mean(shares);
  const growthBytes = { network: growth(observation, "network"), miner: growth(observation, "miner") };
  const refusals = refusalsIn(attacked);
  const failures = [
    ...crashes,
    ...(throughput < throughputAtLeast ? [`throughput is ${rounded(throughput, 3)}, not ${throughputAtLeast}`] : []),
    ...Object.entries(growthBytes).flatMap(([who, bytes]) =>
      bytes > growthAtMostBytes ? [`memory of the ${who} grew by ${bytes} bytes`] : [],
    ),
    ...(refusedAs.length > 0 && !refusedAs.some((code) => (refusals[code] ?? 0) > 0)
      ? [`nothing was counted as ${refusedAs.join(" or ")}`]
      : []),
  ];
  return {
    attack: name,
    about,
    attemptsPerSecond: rounded(attempts / (sum(attacked.map(durationMs)) / 1000), 1),
    tokensPerSecond: {
      undisturbed: rounded(mean(undisturbed.map(tokensPerSecond)), 1),
      attacked: rounded(mean(attacked.map(tokensPerSecond)), 1),
    },
    throughput: rounded(throughput, 3),
    standardError: rounded(standardErrorOf(shares), 3),
    processorSeconds: { undisturbed: costOf(undisturbed), attacked: costOf(attacked) },
    growthBytes,
    refusals,
    logLines,
    failures,
    verdict: failures.length === 0 ? "met" : "missed",
  };
}

function durationMs({ from, to }: Window): number {
  return to.atMs - from.atMs;
}

function tokensPerSecond(window: Window): number {
  return (1000 * (window.to.tokens - window.from.tokens)) / durationMs(window);
}

/** The highest of the attacked over the highest of the others. */
function growth({ undisturbed, attacked }: Observation, who: "network" | "miner"): number {
  const peak = (windows: readonly Window[]) => Math.max(...windows.map(({ to }) => to.peakBytes[who]));
  return Math.max(0, peak(attacked) - peak(undisturbed));
}

function refusalsIn(windows: readonly Window[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { from, to } of windows)
    for (const [code, count] of Object.entries(to.refusals)) {
      const more = count - (from.refusals[code] ?? 0);
      if (more > 0) counts[code] = (counts[code] ?? 0) + more;
    }
  return counts;
}

function costOf(windows: readonly Window[]): Cost {
  const tokens = sum(windows.map(({ from, to }) => to.tokens - from.tokens));
  const per1000 = (...roles: (keyof ProcessorSeconds)[]) => {
    const seconds = windows.flatMap(({ from, to }) => roles.map((role) => to.processor[role] - from.processor[role]));
    return rounded((1000 * sum(seconds)) / tokens, 3);
  };
  return { network: per1000("orchestrator"), miners: per1000("workers", "daemons") };
}

function standardErrorOf(values: readonly number[]): number {
  if (values.length < 2) return Number.NaN;
  const middle = mean(values);
  const variance = sum(values.map((value) => (value - middle) ** 2)) / (values.length - 1);
  return Math.sqrt(variance / values.length);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
