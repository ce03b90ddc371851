/**
 * All configurations in turn, round by round: within a round each configuration's process is followed by the peer's, and a
 * slow minute of the machine weighs on all configurations alike.
 */
import { nativeInstructionSets } from "../../../src/compute/backends/native/device.ts";
import { measureGrowth } from "../growth/measure-growth.ts";
import { progress, rounded, type Target, type Verdict, verdictOf } from "../shared/report.ts";
import { blockCase, type SuiteCase, suiteCases } from "./cases.ts";
import type { Configuration } from "./configuration.ts";
import {
  adamwCost,
  bestGemm,
  type Figures,
  figuresOf,
  medianOf,
  type RatesRound,
  type Round,
  ratesRound,
  trainingRound,
  warnOfSlowPeer,
} from "./measure.ts";
import type { PeerCommand } from "./programs.ts";
import { printTables } from "./tables.ts";

export interface SuiteOptions {
  readonly rounds: number;
  readonly peer: PeerCommand | null;
  /** Cases are measured when their name matches, and other figures when theirs does. */
  readonly only: RegExp;
  /** Prints no tables. */
  readonly json: boolean;
}

export interface CaseResult extends Figures {
  readonly name: string;
  readonly targetRatio: number;
  readonly gemmGflops: number | null;
  readonly fractionOfGemm: number | null;
}

/** One line of the table of targets. */
export interface Figure {
  readonly figure: string;
  readonly value: number | null;
  readonly target: Target;
  readonly verdict: Verdict;
}

interface Measured {
  readonly suiteCase: SuiteCase;
  readonly rounds: Round[];
  /** Of the plain blocks only. */
  readonly rates: RatesRound[];
}

const growthSteps = 2000;

export async function runSuite({ rounds, peer, only, json }: SuiteOptions) {
  const hasBrainFloat = nativeInstructionSets("bf16").length > 0;
  if (!hasBrainFloat) progress("this processor does not multiply in bf16: those figures are not measured");
  const measured = suiteCases
    .filter(({ name, configuration }) => only.test(name) && (hasBrainFloat || configuration.dtype === "f32"))
    .map((suiteCase): Measured => ({ suiteCase, rounds: [], rates: [] }));
  for (let round = 1; round <= rounds; round++)
    for (const [index, { suiteCase, rounds: ofCase, rates }] of measured.entries()) {
      progress(`round ${round} of ${rounds}, ${index + 1} of ${measured.length}: ${suiteCase.name}`);
      if (suiteCase.kind === "block") rates.push(ratesRound(suiteCase.configuration, peer));
      ofCase.push(trainingRound(suiteCase.configuration, peer));
    }
  const cases = measured.map(caseResult);
  const growthName = `growth of resident memory over ${growthSteps} steps, percent`;
  const growth = only.test(growthName)
    ? await measureGrowth({ backend: "native", precision: "f32", threads: 1, preset: "demo", steps: growthSteps })
    : null;
  const figures = [
    ...cases.map(({ name, speedRatio, targetRatio }) => figure(`${name} ÷ peer`, speedRatio, { atLeast: targetRatio })),
    ...[1, 2].flatMap((threads) => [
      figure(`share of the GEMM rate, ${blockCase("f32", threads)}`, share(cases, "f32", threads), { atLeast: 0.88 }),
      figure(`share of the GEMM rate, ${blockCase("bf16", threads)}`, share(cases, "bf16", threads), { atLeast: 0.65 }),
    ]),
    ...(["f32", "bf16"] as const).map((dtype) =>
      figure(`2 threads ÷ 1 thread, block, ${dtype}`, scaling(measured, dtype), { atLeast: 1.85 }),
    ),
    figure("AdamW, nanoseconds per parameter, 1 thread", optimizerCost(measured), { atMost: 0.8 }),
    ...cases.map(({ name, memoryRatio }) => figure(`peak memory ÷ peer's, ${name}`, memoryRatio, { atMost: 0.4 })),
    figure(growthName, growth?.growthPercent ?? null, { atMost: 1 }),
  ];
  if (!json) printTables(cases, figures);
  return { rounds, peer: peer?.join(" ") ?? null, cases, growth, figures };
}

function figure(name: string, value: number | null, target: Target): Figure {
  return { figure: name, value, target, verdict: verdictOf(value, target) };
}

function caseResult({ suiteCase, rounds, rates }: Measured): CaseResult {
  const figures = figuresOf(suiteCase.configuration, rounds);
  warnOfSlowPeer(figures, suiteCase.name);
  const gemmGflops = rates.length > 0 ? bestGemm(rates).gemmGflops : null;
  return {
    name: suiteCase.name,
    targetRatio: suiteCase.speedTarget,
    ...figures,
    gemmGflops,
    fractionOfGemm: gemmGflops && rounded(figures.blockGflops / gemmGflops, 3),
  };
}

function share(cases: readonly CaseResult[], dtype: Configuration["dtype"], threads: number): number | null {
  return cases.find(({ name }) => name === blockCase(dtype, threads))?.fractionOfGemm ?? null;
}

/** Two threads against one, in the same round. */
function scaling(measured: readonly Measured[], dtype: Configuration["dtype"]): number | null {
  const [one, two] = [1, 2].map((threads) => roundsOf(measured, dtype, threads));
  if (!one || !two) return null;
  const ratios = two.map(
    ({ ours }, round) => ours.medianTokensPerSecond / (one[round]?.ours.medianTokensPerSecond ?? 0),
  );
  return rounded(
    medianOf(ratios, (ratio) => ratio),
    3,
  );
}

function roundsOf(measured: readonly Measured[], dtype: Configuration["dtype"], threads: number) {
  return measured.find(({ suiteCase }) => suiteCase.name === blockCase(dtype, threads))?.rounds;
}

function optimizerCost(measured: readonly Measured[]): number | null {
  const single = measured.find(({ suiteCase }) => suiteCase.name === blockCase("f32", 1));
  return single ? adamwCost(single.rates) : null;
}
