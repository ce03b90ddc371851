/**
 * How a run is best compressed on given links, and how many tokens its steps take: a pure function. For each size of a step it takes the
 * mildest choices with which a replica that computes at full speed fills no direction of its link by more than 60 %, and waits for it for
 * no more than a tenth of its time; among the sizes, and where nothing is mild enough, it takes what gets furthest: speed against loss.
 *
 * This folder may import `protocol`, and of `compute` the pure layout, memory plan and codecs; nothing else.
 */
import { optimizerStateLength } from "../../compute/model/optimizer-state.ts";
import type { LinkReport } from "../../protocol/link-report.ts";
import type { Plan, PlanCost } from "../../protocol/plan-view.ts";
import type { BatchRequest } from "./batch.ts";
import type { Evidence } from "./choices.ts";
import { type Costing, costingOf, mergeEvidence, type Situation, situationOf, worthOf } from "./costing.ts";
import { type Decisions, openChoices } from "./open-choices.ts";

export interface PlanRequest extends BatchRequest {
  /** Tokens per second through one block, of a typical miner; null: an ordinary laptop is assumed. */
  readonly blockTokensPerSecond: number | null;
  /** Of the slowest miner; what is null is assumed to be a home's. */
  readonly link: LinkReport;
  readonly decided: Decisions;
}

/** What is better has to be worth so much more (as `worthOf` has it) that it is better beyond doubt: five percent of the tokens. */
export const leastGain = 0.05;
/** As `src/miner/flow/pace.ts` has it. */
const headroom = 1.5;
const bytesPerParameter = 4;

export function planRun(request: PlanRequest): Plan {
  return planFrom(situationOf(request), bestCosting(request));
}

/** What `planRun` makes a plan of. */
export function bestCosting(request: PlanRequest): Costing {
  const situation = situationOf(request);
  return bestOf(openChoices(request).map((choice) => costingOf(situation, choice)));
}

/** As the run is set up, whether that is wise or not. */
export function planAsConfigured(request: PlanRequest): Plan {
  return planRun({ ...request, decided: configured(request) });
}

/** Everything that a run's settings say. */
export function configured({ model, training }: Pick<PlanRequest, "model" | "training">): Required<Decisions> {
  const { compression, stepsPerEpoch, microbatchesPerStep, sequencesPerMicrobatch } = training;
  const { boundary, exchange, merge } = compression;
  const batch = { microbatchesPerStep, sequencesPerMicrobatch };
  return { ...boundary, exchange, merge, bottleneckRank: model.bottleneck?.rank ?? null, batch, stepsPerEpoch };
}

function bestOf(all: readonly Costing[]): Costing {
  const timely = all.filter(({ endsInTime }) => endsInTime);
  // What is decided may take as long as it likes.
  const costings = timely.length > 0 ? timely : all;
  const byWorth = (a: Costing, b: Costing) => (worthOf(b) > worthOf(a) ? b : a);
  const fitting = costings.filter(({ fits }) => fits);
  if (fitting.length === 0) return costings.reduce(byWorth);
  const mildest = Array.from(Map.groupBy(fitting, ({ choice }) => choice.batch).values(), (ofBatch) =>
    ofBatch.reduce((a, b) => (compareMildness(a, b) <= 0 ? a : b)),
  ).reduce(byWorth);
  // A link that is a little fuller may be better than to round so much that it is not.
  const milder = costings.filter((one) => compareMildness(one, mildest) < 0).reduce(byWorth, mildest);
  return worthOf(milder) > worthOf(mildest) + leastGain ? milder : mildest;
}

/**
 * Negative: `a` is milder. Of those that cost no more than what was measured together does, it is the one whose parts cost less; then
 * the one that merges more often.
 */
export function compareMildness(a: Costing, b: Costing): number {
  return (
    hundredths(a.lossGapPercent) - hundredths(b.lossGapPercent) ||
    hundredths(a.partsGapPercent) - hundredths(b.partsGapPercent) ||
    a.choice.stepsPerEpoch - b.choice.stepsPerEpoch
  );
}

function planFrom({ request, link, parameters, tokensPerSecond }: Situation, costing: Costing): Plan {
  const { training, stages, replicas } = request;
  const { choice, tokensPerStep, bytesPerToken, waits, microbatchesOnPath } = costing;
  const { boundary, exchange, merge, batch, stepsPerEpoch } = choice;
  const tokensPerEpoch = tokensPerStep * stepsPerEpoch;
  const cost = (part: PlanCost["part"], bytes: number, waitShare: number, evidence: Evidence): PlanCost => ({
    part,
    bytesPerToken: bytes,
    bytesPerEpoch: Math.ceil(bytes * tokensPerEpoch),
    uplinkShare: (bytes * tokensPerSecond) / link.upBytesPerSecond,
    downlinkShare: (bytes * tokensPerSecond) / link.downBytesPerSecond,
    waitShare,
    lossGapPercent: hundredths(evidence.lossGapPercent),
    measured: evidence.measured,
  });
  const checkpointBytes = bytesPerParameter * (parameters + optimizerStateLength(training.mode, parameters));
  return {
    compression: { boundary: boundary.formats, exchange: exchange.exchange, merge: merge.codec },
    bottleneckRank: boundary.rank,
    stepsPerEpoch,
    ...batch,
    tokensPerStep: replicas * tokensPerStep,
    // Little 1961: what is under way is the rate times the time that it takes.
    microbatchesInFlight: Math.min(
      batch.microbatchesPerStep,
      Math.max(stages + 1, Math.ceil(headroom * microbatchesOnPath)),
    ),
    link,
    tokensPerSecond,
    efficiency: costing.efficiency,
    lossGapPercent: hundredths(costing.lossGapPercent),
    measured: costing.compression.measured,
    costs: [
      cost("boundaries", bytesPerToken.boundaries, waits.boundaries, boundary),
      cost("exchange", bytesPerToken.exchange, waits.exchange, exchange),
      cost("merge", bytesPerToken.merge, waits.merge, mergeEvidence(choice)),
      cost("steps", 0, waits.steps, choice.steps),
      {
        ...cost("checkpoint", 0, 0, { lossGapPercent: 0, measured: "nothing is rounded" }),
        bytesPerToken: checkpointBytes / tokensPerEpoch,
        bytesPerEpoch: checkpointBytes,
      },
    ],
  };
}

function hundredths(value: number): number {
  return Math.round(100 * value) / 100;
}
