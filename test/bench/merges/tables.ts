/** The rows of each set as Markdown, for people and for docs/benchmarks.md. */
import { rounded } from "../shared/report.ts";
import type { SetName } from "./experiments.ts";
import type { Gap, Row } from "./summary.ts";

export function printTables(rows: readonly Row[], sets: readonly SetName[]): void {
  for (const set of sets) {
    const ofSet = rows.filter(({ experiment }) => experiment.sets.includes(set));
    process.stdout.write(`${set}\n${tableOf(ofSet)}\n\n`);
  }
}

const columns = [
  "how it is trained",
  "learning rate",
  "nats per byte, by seed",
  "above one process, % (seeds)",
  "above uncompressed merges, % (seeds)",
  "ratio of merges",
  "bytes sent per parameter and step",
];

function tableOf(rows: readonly Row[]): string {
  const cells = rows.map((row) => [
    row.experiment.name,
    String(rounded(row.learningRate, 5)),
    lossesOf(row),
    gapText(row.gapToOneProcess),
    gapText(row.gapToUncompressed),
    String(row.ratio ?? ""),
    String(row.sentBytesPerParameterAndStep ?? ""),
  ]);
  return [columns, columns.map(() => "---"), ...cells].map((line) => `| ${line.join(" | ")} |`).join("\n");
}

function lossesOf({ lossesNats, diverged }: Row): string {
  const losses = [...lossesNats.values()].map((loss) => loss.toFixed(4));
  return [...losses, ...Array<string>(diverged).fill("diverged")].join(", ");
}

/** `+0.31 (+0.12 … +0.5)`. */
function gapText(gap: Gap | null): string {
  return gap === null ? "" : `${signed(gap.mean)} (${signed(gap.lowest)} … ${signed(gap.highest)})`;
}

function signed(value: number): string {
  return value > 0 ? `+${value}` : `${value}`.replace("-", "−");
}
