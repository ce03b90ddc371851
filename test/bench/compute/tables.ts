/** The suite's results as the Markdown tables of docs/benchmarks.md. */
import type { CaseResult, Figure } from "./suite.ts";

export function printTables(cases: readonly CaseResult[], figures: readonly Figure[]): void {
  printTable(
    [
      "configuration",
      "tokens/s",
      "peer's",
      "ratio",
      "GFLOP/s",
      "peer's",
      "of best GEMM",
      "peak MiB",
      "peer's",
      "ratio",
    ],
    cases.map((result) => [
      result.name,
      result.medianTokensPerSecond,
      result.peer?.medianTokensPerSecond,
      result.speedRatio,
      result.blockGflops,
      result.peer?.blockGflops,
      result.fractionOfGemm,
      result.peakRssMiB,
      result.peer?.peakRssMiB,
      result.memoryRatio,
    ]),
  );
  printTable(
    ["figure", "measured", "target", "verdict"],
    figures.map(({ figure, value, target, verdict }) => [
      figure,
      value,
      "atLeast" in target ? `≥ ${target.atLeast}` : `≤ ${target.atMost}`,
      verdict,
    ]),
  );
}

type Cell = string | number | null | undefined;

function printTable(titles: readonly string[], rows: readonly (readonly Cell[])[]): void {
  const line = (cells: readonly Cell[]) => `| ${cells.map((cell) => cell ?? "–").join(" | ")} |\n`;
  process.stdout.write(`${line(titles)}${line(titles.map(() => "---"))}${rows.map(line).join("")}\n`);
}
