/** What all benchmarks share: how a result is printed, and the few statistics they need. */
import { execFileSync } from "node:child_process";

/** Exactly one JSON object, as the last line of standard output. */
export function printResult(result: object): void {
  process.stdout.write(`${JSON.stringify(result)}\n`);
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

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
