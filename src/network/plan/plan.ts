/**
 * How a run is best compressed on given links: a pure function. It takes the mildest choices with which a replica that computes at full
 * speed fills no direction of its link by more than 60 %, and waits for it for no more than a tenth of its time; the rest of the link is
 * for checkpoints, joiners, and the household. Where nothing is mild enough, it takes what gets furthest: speed against loss.
 *
 * This folder may import `protocol` and the pure layout and codecs of `compute`; nothing else.
 */
import { rowPayloadBytes } from "../../compute/codec/rows.ts";
import { vectorPayloadBytes } from "../../compute/codec/vector.ts";
import { stageLayout } from "../../compute/model/layout.ts";
import { optimizerStateLength } from "../../compute/model/optimizer-state.ts";
import { blockParameterCount, cutIntoStages, parameterCount } from "../../compute/model/stages.ts";
import type { LinkReport } from "../../protocol/link-report.ts";
import type { Plan, PlanCost } from "../../protocol/plan-view.ts";
import type { ModelConfig, TrainingConfig, VectorCodec } from "../../protocol/run-config.ts";
import {
  type BoundaryChoice,
  boundaryChoices,
  type ExchangeChoice,
  exchangeChoices,
  type MergeChoice,
  mergeChoices,
} from "./choices.ts";

export interface PlanRequest {
  /** As it would be uncompressed, or with the bottleneck that it has. */
  readonly model: ModelConfig;
  readonly training: TrainingConfig;
  readonly stages: number;
  /** Per stage. */
  readonly replicas: number;
  /** Tokens per second through one block, of a typical miner; null: an ordinary laptop is assumed. */
  readonly blockTokensPerSecond: number | null;
  /** Of the slowest miner; what is null is assumed to be a home's. */
  readonly link: LinkReport;
  /** The model is yet to be made, and can have a bottleneck. */
  readonly isNew: boolean;
}

type Link = Plan["link"];

/** 100 Mbit/s down, 20 Mbit/s up. */
const homeLink: Link = { upBytesPerSecond: 2.5e6, downBytesPerSecond: 12.5e6, roundTripMs: 40 };
/** Matrix products on a laptop's processor. */
const laptopFlops = 1e11;
const mostLinkShare = 0.6;
const leastEfficiency = 0.9;
/** So many replicas exchange their steps with each other. */
const exchangeGroup = 4;
/** Multiples of the steps between two merges that were asked for. */
const stretches = [1, 2, 4, 8];
const bytesPerParameter = 4;
/** Between two merges, where it was measured what merging less often costs. */
const measuredSteps = 15;

interface Choice {
  readonly boundary: BoundaryChoice;
  readonly exchange: ExchangeChoice;
  readonly merge: MergeChoice;
  readonly stepsPerEpoch: number;
}

export function planRun(request: PlanRequest): Plan {
  const parameters = largestStageParameters(request);
  const plans = choicesFor(request).map((choice) => planOf(request, parameters, choice));
  const fitting = plans.filter(
    ({ efficiency, costs }) => efficiency >= leastEfficiency && largestShare(costs) <= mostLinkShare,
  );
  const byLoss = (a: Plan, b: Plan) => a.lossGapPercent - b.lossGapPercent || a.stepsPerEpoch - b.stepsPerEpoch;
  const byWorth = (a: Plan, b: Plan) => worthOf(b) - worthOf(a);
  const [best] = fitting.length > 0 ? fitting.toSorted(byLoss) : plans.toSorted(byWorth);
  if (best === undefined) throw new RangeError("there is nothing to choose from");
  return best;
}

/** As the run is set up, whether that is wise or not. */
export function planAsConfigured(request: PlanRequest): Plan {
  const { boundary: formats, exchange, merge } = request.training.compression;
  const rank = request.model.bottleneck?.rank ?? null;
  const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
  const unknown = { lossGapPercent: 0, measured: null };
  return planOf(request, largestStageParameters(request), {
    boundary: boundaryChoices.find((one) => same(one.formats, formats) && one.rank === rank) ?? {
      formats,
      rank,
      ...unknown,
    },
    exchange: exchangeChoices.find((one) => same(one.exchange, exchange)) ?? { exchange, ...unknown },
    merge: mergeChoices.find(({ codec }) => same(codec, merge)) ?? { codec: merge, ...unknown },
    stepsPerEpoch: request.training.stepsPerEpoch,
  });
}

function choicesFor({ model, training, stages, replicas, isNew }: PlanRequest): readonly Choice[] {
  // Sync mode is there to be the same as one process.
  const isExact = training.mode === "sync";
  const rank = model.bottleneck?.rank ?? null;
  const boundaries = rank === null ? choicesWithout(model.width, isNew) : choicesWith(rank);
  const canMerge = !isExact && replicas > 1;
  return (stages > 1 && !isExact ? boundaries : boundaryChoices.slice(0, 1)).flatMap((boundary) =>
    (canMerge ? exchangeChoices : exchangeChoices.slice(-1)).flatMap((exchange) =>
      (canMerge ? mergeChoices : mergeChoices.slice(0, 1)).flatMap((merge) =>
        (isExact ? [1] : stretches).map((stretch) => ({
          boundary,
          exchange: canMerge
            ? exchange
            : { exchange: null, lossGapPercent: 0, measured: "there is nothing to exchange" },
          merge,
          stepsPerEpoch: training.stepsPerEpoch * stretch,
        })),
      ),
    ),
  );
}

/** For a model without bottlenecks, which may get some if it is yet to be made. */
function choicesWithout(width: number, isNew: boolean): readonly BoundaryChoice[] {
  return boundaryChoices.filter(({ rank }) => rank === null || (isNew && rank < width));
}

/** For a model that has bottlenecks: what another rank costs was measured for no other. */
function choicesWith(rank: number): readonly BoundaryChoice[] {
  return boundaryChoices
    .filter((choice) => choice.rank !== null)
    .map((choice) => (choice.rank === rank ? choice : { ...choice, rank, measured: null }));
}

function planOf(request: PlanRequest, parameters: number, choice: Choice): Plan {
  const { training, stages, replicas } = request;
  const { boundary, exchange, merge, stepsPerEpoch } = choice;
  const link = linkOf(request.link);
  const tokensPerSecond = replicaTokensPerSecond(request);
  const sizes = sizesOf(request, parameters, choice);
  const tokensPerStep = training.microbatchesPerStep * training.sequencesPerMicrobatch * training.sequenceLength;
  const tokensPerEpoch = tokensPerStep * stepsPerEpoch;
  const cost = (
    part: PlanCost["part"],
    bytesPerToken: number,
    evidence: BoundaryChoice | ExchangeChoice | MergeChoice,
  ) => ({
    part,
    bytesPerToken,
    bytesPerEpoch: Math.ceil(bytesPerToken * tokensPerEpoch),
    uplinkShare: (bytesPerToken * tokensPerSecond) / link.upBytesPerSecond,
    downlinkShare: (bytesPerToken * tokensPerSecond) / link.downBytesPerSecond,
    lossGapPercent: evidence.lossGapPercent,
    measured: evidence.measured,
  });
  const costs: readonly PlanCost[] = [
    cost("boundaries", sizes.boundaryBytesPerToken, boundary),
    cost("exchange", sizes.exchangeBytes / tokensPerStep, apartFor(exchange, stepsPerEpoch, replicas)),
    cost("merge", sizes.mergeBytes / tokensPerEpoch, merge),
    {
      part: "checkpoint",
      bytesPerToken: sizes.checkpointBytes / tokensPerEpoch,
      bytesPerEpoch: sizes.checkpointBytes,
      uplinkShare: 0,
      downlinkShare: 0,
      lossGapPercent: 0,
      measured: "nothing is rounded",
    },
  ];
  const microbatchTokens = training.sequencesPerMicrobatch * training.sequenceLength;
  const microbatchSeconds = microbatchTokens / tokensPerSecond;
  const hops = 2 * (stages - 1);
  const pathSeconds = stages * microbatchSeconds + (hops * link.roundTripMs) / 1000;
  return {
    compression: { boundary: boundary.formats, exchange: exchange.exchange, merge: merge.codec },
    bottleneckRank: boundary.rank,
    stepsPerEpoch,
    // Little 1961: what is under way is the rate times the time that it takes.
    microbatchesInFlight: Math.max(
      stages,
      Math.min(training.microbatchesPerStep, Math.ceil(pathSeconds / microbatchSeconds)),
    ),
    link,
    tokensPerSecond,
    efficiency: efficiencyOf(choice, costs, link, {
      stepSeconds: tokensPerStep / tokensPerSecond,
      exchangeBytes: sizes.exchangeBytes,
      mergeBytes: sizes.mergeBytes,
    }),
    lossGapPercent: hundredths(costs.reduce((sum, { lossGapPercent }) => sum + lossGapPercent, 0)),
    costs,
  };
}

/** Replicas that meet at merges only drift apart the longer, the more steps lie between: about with their square root. */
function apartFor(choice: ExchangeChoice, stepsPerEpoch: number, replicas: number): ExchangeChoice {
  if (choice.exchange !== null || replicas === 1 || stepsPerEpoch === measuredSteps) return choice;
  const lossGapPercent = hundredths(choice.lossGapPercent * Math.sqrt(stepsPerEpoch / measuredSteps));
  return { ...choice, lossGapPercent, measured: null };
}

function hundredths(value: number): number {
  return Math.round(100 * value) / 100;
}

/** Training waits for boundaries that are too narrow, at every step for an exchange without lag, and at the epoch's end for the merge. */
function efficiencyOf(
  { exchange, stepsPerEpoch }: Choice,
  costs: readonly PlanCost[],
  link: Link,
  work: { readonly stepSeconds: number; readonly exchangeBytes: number; readonly mergeBytes: number },
): number {
  const narrow = Math.min(link.upBytesPerSecond, link.downBytesPerSecond);
  const roundTripSeconds = link.roundTripMs / 1000;
  const flow = 1 / Math.max(1, ...costs.slice(0, 2).flatMap((cost) => [cost.uplinkShare, cost.downlinkShare]));
  const waits = exchange.exchange?.lag === 0 ? roundTripSeconds + work.exchangeBytes / narrow : 0;
  const step = work.stepSeconds / flow + waits;
  // Contributions, averaged slices and weights each take their round trips.
  const merging = work.mergeBytes > 0 ? 3 * roundTripSeconds + work.mergeBytes / narrow : 0;
  return (stepsPerEpoch * work.stepSeconds) / (stepsPerEpoch * step + merging);
}

function largestStageParameters({ model, stages }: PlanRequest): number {
  return Math.max(...cutIntoStages(model, stages).map((stage) => stageLayout(model, stage).length));
}

/** Bytes that a replica of the largest stage sends, with boundaries at both ends where some stage has that. */
function sizesOf(
  { model, training, stages, replicas }: PlanRequest,
  parameters: number,
  { boundary, exchange, merge }: Choice,
) {
  const rows = training.sequencesPerMicrobatch * training.sequenceLength;
  const shape = { rows, columns: boundary.rank ?? model.width };
  const { forward, backward } = boundary.formats;
  const codec = exchange.exchange?.codec;
  const vectorBytes = (of: VectorCodec) => vectorPayloadBytes(of, parameters).most;
  return {
    boundaryBytesPerToken:
      ((stages > 1 ? rowPayloadBytes(forward, shape) : 0) + (stages > 2 ? rowPayloadBytes(backward, shape) : 0)) / rows,
    exchangeBytes: codec === undefined ? 0 : (Math.min(replicas, exchangeGroup) - 1) * vectorBytes(codec),
    // As docs/protocol.md works it out under "What a merge costs".
    mergeBytes: replicas < 2 ? 0 : (3 - 4 / replicas) * vectorBytes(merge.codec),
    checkpointBytes: bytesPerParameter * (parameters + optimizerStateLength(training.mode, parameters)),
  };
}

function replicaTokensPerSecond({ model, stages, blockTokensPerSecond }: PlanRequest): number {
  const block = blockParameterCount(model);
  // Each parameter is multiplied with once forward and twice backward, and each channel with half of the context, twice.
  const blockRate = blockTokensPerSecond ?? laptopFlops / (6 * block + 6 * model.context * model.width);
  const blocksPerStage = parameterCount(model) / block / stages;
  return Math.max(1e-3, blockRate / blocksPerStage);
}

function linkOf({ upBytesPerSecond, downBytesPerSecond, roundTripMs }: LinkReport): Link {
  return {
    upBytesPerSecond: upBytesPerSecond ?? homeLink.upBytesPerSecond,
    downBytesPerSecond: downBytesPerSecond ?? homeLink.downBytesPerSecond,
    roundTripMs: roundTripMs ?? homeLink.roundTripMs,
  };
}

function largestShare(costs: readonly PlanCost[]): number {
  const sum = (share: (cost: PlanCost) => number) => costs.reduce((total, cost) => total + share(cost), 0);
  return Math.max(
    sum(({ uplinkShare }) => uplinkShare),
    sum(({ downlinkShare }) => downlinkShare),
  );
}

/** A percent of the loss is worth some five percent of the tokens, in a small model's first hours. */
function worthOf({ efficiency, lossGapPercent }: Plan): number {
  return Math.log(Math.max(efficiency, 1e-9)) - 0.05 * lossGapPercent;
}
