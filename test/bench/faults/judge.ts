/** What came of a scenario, as figures and as a verdict: a function of what was seen from outside and what the books say. */
import type { MinerId } from "../../../src/protocol/ids.ts";
import type { EpochRecord } from "../../../src/protocol/run-view.ts";
import { mean, median, rounded, type Verdict } from "../shared/report.ts";
import { type Books, brokenInvariants, replay } from "./invariants.ts";
import type { Scenario } from "./scenario.ts";
import { flowRate, recoverySeconds, type WorkBook } from "./work-book.ts";

/** Between the ends of two epochs: no work that is under way belongs to either side. */
export interface Span {
  readonly to: EpochRecord;
  readonly tokensPerSecond: number;
  readonly seconds: number;
}

export interface Observations {
  readonly stages: number;
  /** What the scenario said of itself. */
  readonly details: object;
  readonly spans: Readonly<Record<"before" | "disturbed" | "after", Span>>;
  /** These times are of one clock, that of `book`. */
  readonly disturbedFromMs: number;
  readonly faultsAtMs: readonly number[];
  readonly book: WorkBook;
  /** The most that anybody was shown to have, in micro-credits. */
  readonly creditsShown: ReadonlyMap<MinerId, number>;
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

type Rules = Pick<Scenario, "name" | "about" | "goodputAtLeast" | "recoverySecondsAtMost">;

export function judge(rules: Rules, books: Books, observations: Observations): ScenarioResult {
  const { stages, details, spans, book, findings, contradictions } = observations;
  const { before, disturbed, after } = spans;
  const goodput = disturbed.tokensPerSecond / mean([before.tokensPerSecond, after.tokensPerSecond]);
  const recoveries = recoveriesOf(observations);
  const slowest = Math.max(0, ...recoveries);
  const creditsLost = lostCredits(observations.creditsShown, books);
  const isCounted = (epoch: number) => epoch > before.to.epoch && epoch <= disturbed.to.epoch;
  const trained = mean(book.trainedTokens(stages, isCounted));

  const { goodputAtLeast = 0, recoverySecondsAtMost = Number.MAX_VALUE } = rules;
  const moments = replay(books);
  const violations = [
    ...brokenInvariants(books, moments),
    ...findings,
    ...contradictions,
    ...(creditsLost > 0 ? ["credits that miners were shown are gone"] : []),
    ...(disturbed.tokensPerSecond > 0 && after.tokensPerSecond > 0 ? [] : ["epochs no longer end"]),
    ...(Number.isFinite(slowest) ? [] : ["the flow did not recover from a fault"]),
    // Not a number where even undisturbed training stands still.
    ...(goodput >= goodputAtLeast ? [] : [`the goodput is below ${goodputAtLeast}`]),
    ...(slowest > recoverySecondsAtMost ? [`the flow took more than ${recoverySecondsAtMost} s to recover`] : []),
  ];
  const { evaluations } = moments.at(-1)?.after ?? books.first;
  const losses = evaluations.map(({ validationLossNats }) => rounded(validationLossNats, 4));
  return {
    scenario: rules.name,
    about: rules.about,
    ...details,
    goodput: rounded(goodput, 3),
    /** Mean over the stages of what their replicas trained and what was merged. */
    tokensLost: Math.round(trained - mean(creditedTokens(books, stages, isCounted))),
    creditsLost,
    /** Of the slowest; null without a fault that the flow has to recover from, or when it never did. */
    recoverySeconds: recoveries.length > 0 && Number.isFinite(slowest) ? rounded(slowest, 2) : null,
    recoverySecondsOfEach: recoveries.map((seconds) => (Number.isFinite(seconds) ? rounded(seconds, 2) : null)),
    recoverySecondsMedian: recoveries.length > 0 ? rounded(median(recoveries), 2) : null,
    undisturbed: [figuresOf(before), figuresOf(after)],
    disturbed: figuresOf(disturbed),
    validationLossNats: { first: losses[0] ?? null, last: losses.at(-1) ?? null },
    violations,
    verdict: violations.length === 0 ? "met" : "missed",
  };
}

function figuresOf({ seconds, tokensPerSecond }: Span): Pick<Span, "seconds" | "tokensPerSecond"> {
  return { seconds, tokensPerSecond };
}

/** Infinite where the flow never recovered. */
function recoveriesOf({ faultsAtMs, book, disturbedFromMs, spans }: Observations): readonly number[] {
  const undisturbed = flowRate(book.flow, disturbedFromMs - 1000 * spans.before.seconds, disturbedFromMs);
  return faultsAtMs.map((atMs) => recoverySeconds(book.flow, atMs, undisturbed) ?? Number.POSITIVE_INFINITY);
}

/** By stage, what receipts were given for. */
function creditedTokens({ receipts }: Books, stages: number, isCounted: (epoch: number) => boolean): readonly number[] {
  return Array.from({ length: stages }, (_, stage) =>
    receipts
      .filter((receipt) => receipt.stage === stage && isCounted(receipt.at.epoch))
      .reduce((sum, { tokens }) => sum + tokens, 0),
  );
}

function lostCredits(shown: ReadonlyMap<MinerId, number>, { receipts }: Books): number {
  return [...shown].reduce((lost, [minerId, microCredits]) => {
    const earned = receipts.filter((receipt) => receipt.minerId === minerId);
    return lost + Math.max(0, microCredits - earned.reduce((sum, receipt) => sum + receipt.microCredits, 0));
  }, 0);
}
