/** A scenario's verdict: whether all invariants hold, and all its targets are reached. */
import { median, rounded, type Verdict } from "../shared/report.ts";
import { type Figures, figuresOf, type Observations, type Pace } from "./figures.ts";
import { type Books, brokenInvariants, replay } from "./invariants.ts";
import type { Scenario } from "./scenario.ts";

export interface Evidence extends Observations {
  readonly books: Books;
  /** What the scenario said of itself. */
  readonly details: object;
  /** What was shown once, and later otherwise. */
  readonly contradictions: readonly string[];
  /** What `tah network audit` found wrong. */
  readonly findings: readonly string[];
}

export interface ScenarioResult {
  readonly scenario: string;
  readonly about: string;
  readonly verdict: Verdict;
  readonly [figure: string]: unknown;
}

export type Rules = Omit<Scenario, "disturb" | "minutes" | "smallDisk">;

export function judge(rules: Rules, evidence: Evidence): ScenarioResult {
  const { books, details, contradictions, findings } = evidence;
  const moments = replay(books);
  const state = moments.at(-1)?.after ?? books.first;
  const { partitionsLost, microbatchesLost, evaluations } = state;
  const figures = figuresOf(state, books.receipts, evidence);
  const violations = [
    ...brokenInvariants(moments),
    ...findings,
    ...contradictions,
    ...unreached(rules, { ...figures, partitionsLost }),
  ];
  const losses = evaluations.map(({ validationLossNats }) => rounded(validationLossNats, 4));
  return {
    scenario: rules.name,
    about: rules.about,
    ...details,
    goodput: rounded(figures.goodput, 3),
    tokensLost: Math.round(figures.tokensLost),
    creditsLost: figures.creditsLost,
    partitionsLost,
    microbatchesLost,
    ...recoveryFigures(figures),
    undisturbed: [paceFigures(figures.before), paceFigures(figures.after)],
    disturbed: paceFigures(figures.disturbed),
    validationLossNats: { first: losses[0] ?? null, last: losses.at(-1) ?? null },
    violations,
    verdict: violations.length === 0 ? "met" : "missed",
  };
}

/** What every scenario must reach, and what this one must. */
function unreached(rules: Rules, figures: Figures & { readonly partitionsLost: number }): readonly string[] {
  const { goodputAtLeast = 0, recoverySecondsAtMost = Number.MAX_VALUE, partitionsLostAtMost } = rules;
  const slowest = Math.max(0, ...figures.recoverySeconds);
  const wrong: Readonly<Record<string, boolean>> = {
    "credits that miners were shown are gone": figures.creditsLost > 0,
    "epochs no longer end": figures.disturbed.tokens === 0 || figures.after.tokens === 0,
    "the flow did not recover from a fault": !Number.isFinite(slowest),
    [`the flow took more than ${recoverySecondsAtMost} s to recover`]:
      Number.isFinite(slowest) && slowest > recoverySecondsAtMost,
    // Also where it is not a number.
    [`the goodput is below ${goodputAtLeast}`]: !(figures.goodput >= goodputAtLeast),
    [`more than ${partitionsLostAtMost} partitions were lost`]:
      figures.partitionsLost > (partitionsLostAtMost ?? Number.MAX_VALUE),
  };
  return Object.keys(wrong).filter((violation) => wrong[violation]);
}

/** `recoverySeconds`: of the slowest; null without a fault that the flow has to recover from, and where it never did. */
function recoveryFigures({ recoverySeconds }: Figures) {
  const shown = (seconds: number) => (Number.isFinite(seconds) ? rounded(seconds, 2) : null);
  return {
    recoverySeconds: shown(Math.max(...recoverySeconds)),
    recoverySecondsMedian: shown(median(recoverySeconds)),
    recoverySecondsOfEach: recoverySeconds.map(shown),
  };
}

function paceFigures({ tokens, seconds, tokensPerSecond }: Pace): Pace {
  return { tokens: Math.round(tokens), seconds: rounded(seconds, 1), tokensPerSecond: rounded(tokensPerSecond, 1) };
}
