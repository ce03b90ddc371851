/** What came of a scenario in figures: a function of what was seen from outside and of what the books say. */
import type { RunState } from "../../../src/network/orchestrator/core/state.ts";
import type { MinerId } from "../../../src/protocol/ids.ts";
import type { Receipt } from "../../../src/protocol/receipt.ts";
import type { EpochRecord } from "../../../src/protocol/run-view.ts";
import { mean } from "../shared/report.ts";
import { flowRate, recoverySeconds, type WorkBook } from "./work-book.ts";

/** Between the ends of two epochs: no work that is under way belongs to either side. */
export interface Span {
  readonly from: EpochRecord;
  readonly to: EpochRecord;
}

export interface Observations {
  readonly spans: Readonly<Record<"before" | "disturbed" | "after", Span>>;
  /** These times are of one clock, that of `book`. */
  readonly disturbedFromMs: number;
  readonly faultsAtMs: readonly number[];
  readonly book: WorkBook;
  /** The most that anybody was shown to have, in micro-credits. */
  readonly creditsShown: ReadonlyMap<MinerId, number>;
}

export interface Pace {
  /** Merged and credited, as the mean over the stages. */
  readonly tokens: number;
  readonly seconds: number;
  readonly tokensPerSecond: number;
}

export interface Figures {
  readonly before: Pace;
  readonly disturbed: Pace;
  readonly after: Pace;
  /** Tokens per second while disturbed, as a share of those before and after; not a number where those stood still, too. */
  readonly goodput: number;
  /** Trained while disturbed and not merged, as the mean over the stages. */
  readonly tokensLost: number;
  /** That were shown and that nobody knows of any more, in micro-credits. */
  readonly creditsLost: number;
  /** For each fault that the flow has to recover from; infinite where it did not. */
  readonly recoverySeconds: readonly number[];
}

export function figuresOf({ stages }: RunState, receipts: readonly Receipt[], observations: Observations): Figures {
  const { spans, book, creditsShown } = observations;
  const paceOf = (span: Span) => pace(receipts, stages.length, span);
  const [before, disturbed, after] = [paceOf(spans.before), paceOf(spans.disturbed), paceOf(spans.after)];
  const trained = book.trainedTokens(stages.length, isWithin(spans.disturbed));
  return {
    before,
    disturbed,
    after,
    goodput: disturbed.tokensPerSecond / mean([before.tokensPerSecond, after.tokensPerSecond]),
    tokensLost: mean(trained) - disturbed.tokens,
    creditsLost: lostCredits(creditsShown, receipts),
    recoverySeconds: recoveries(observations),
  };
}

function pace(receipts: readonly Receipt[], stages: number, span: Span): Pace {
  const isCounted = isWithin(span);
  const credited = receipts.filter(({ at }) => isCounted(at.epoch)).reduce((sum, { tokens }) => sum + tokens, 0);
  const tokens = credited / stages;
  const seconds = secondsOf(span);
  return { tokens, seconds, tokensPerSecond: tokens / seconds };
}

function secondsOf({ from, to }: Span): number {
  return (to.finishedAtMs - from.finishedAtMs) / 1000;
}

/** Epochs that ended in the span. */
function isWithin({ from, to }: Span): (epoch: number) => boolean {
  return (epoch) => epoch > from.epoch && epoch <= to.epoch;
}

function recoveries({ faultsAtMs, book, disturbedFromMs, spans }: Observations): readonly number[] {
  const undisturbed = flowRate(book.flow, disturbedFromMs - 1000 * secondsOf(spans.before), disturbedFromMs);
  return faultsAtMs.map((atMs) => recoverySeconds(book.flow, atMs, undisturbed) ?? Number.POSITIVE_INFINITY);
}

function lostCredits(shown: ReadonlyMap<MinerId, number>, receipts: readonly Receipt[]): number {
  return [...shown].reduce((lost, [minerId, microCredits]) => {
    const earned = receipts.filter((receipt) => receipt.minerId === minerId);
    return lost + Math.max(0, microCredits - earned.reduce((sum, receipt) => sum + receipt.microCredits, 0));
  }, 0);
}
