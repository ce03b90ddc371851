/** What all benchmarks share: how progress and results are printed, and the few statistics they need. */
import { execFileSync } from "node:child_process";
import os from "node:os";

/** One line on standard error. */
export function progress(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Exactly one JSON object, as the last line of standard output. */
export function printResult(result: object): void {
  process.stdout.write(`${JSON.stringify(result)}\n`);
}

/** Where and of what a result was measured. `load`: processes that wanted to run when the benchmark began; near 0 on a quiet machine. */
export function provenance(seed: number) {
  return {
    seed,
    machine: {
      cpu: os.cpus()[0]?.model ?? "unknown",
      cores: os.availableParallelism(),
      memoryBytes: os.totalmem(),
      load: rounded(loadAtStart, 2),
    },
    commit: commit(),
  };
}

const [loadAtStart = Number.NaN] = os.loadavg();

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

export function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

export type Verdict = "met" | "missed" | "not measured";

/** A figure against its target; "not measured" where there is no figure. */
export function verdictOf(value: number | null, target: Target): Verdict {
  if (value === null || Number.isNaN(value)) return "not measured";
  return ("atLeast" in target ? value >= target.atLeast : value <= target.atMost) ? "met" : "missed";
}

export type Target = { readonly atLeast: number } | { readonly atMost: number };

/** The commit that is checked out, or "unknown" outside a clone. */
export function commit(): string {
  try {
    return execFileSync("git", ["rev-parse", "--short", "HEAD"], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  } catch {
    return "unknown"; // an unpacked archive has no history
  }
}
