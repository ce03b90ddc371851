/** What one choice comes to on a link: how much of the time a replica trains, what it sends, and what that costs of the loss. */
import { rowPayloadBytes } from "../../compute/codec/rows.ts";
import { vectorPayloadBytes } from "../../compute/codec/vector.ts";
import { stageLayout } from "../../compute/model/layout.ts";
import { blockParameterCount, cutIntoStages, parameterCount } from "../../compute/model/stages.ts";
import { largestExchangeGroup } from "../../protocol/exchange-messages.ts";
import type { Plan } from "../../protocol/plan-view.ts";
import type { VectorCodec } from "../../protocol/run-config.ts";
import { type Batch, batchEvidence, sequencesOf, tokensPerLossPercent } from "./batch.ts";
import { type Evidence, jointMeasurements, mergeBehindExchange, stalenessCosts } from "./choices.ts";
import { type Choice, partsOf } from "./open-choices.ts";
import type { PlanRequest } from "./plan.ts";

export type Link = Plan["link"];

/** What is the same for all choices. */
export interface Situation {
  readonly request: PlanRequest;
  readonly link: Link;
  /** Parameters of the largest stage. */
  readonly parameters: number;
  /** That a replica computes when nothing holds it up. */
  readonly tokensPerSecond: number;
  /** The gaps of the parts of what was measured together, where it is about such a run. */
  readonly joint: readonly (Evidence & { readonly parts: ReturnType<typeof partsOf> })[];
}

export interface Costing {
  readonly choice: Choice;
  /** Of one replica. */
  readonly tokensPerStep: number;
  /** From a microbatch's start at its source until its gradient is back, if it waits nowhere. */
  readonly pathSeconds: number;
  readonly microbatchSeconds: number;
  /** That a replica sends. */
  readonly bytesPerToken: { readonly boundaries: number; readonly exchange: number; readonly merge: number };
  /** Shares of the time that training waits: for a full link, for the others' steps, for merges, and for the pipeline. */
  readonly waits: {
    readonly boundaries: number;
    readonly exchange: number;
    readonly merge: number;
    readonly steps: number;
  };
  /** Of the time, that it trains: what the waits leave. */
  readonly efficiency: number;
  /** The fullest direction of the link, if it trained all the time. */
  readonly linkShare: number;
  /** Compression's part of the loss, and where it was measured as a whole. */
  readonly compression: Evidence;
  /** The same as its parts add up, to tell apart what costs no more than was measured together. */
  readonly partsGapPercent: number;
  /** Of the tokens per step, and of computing ahead of them. */
  readonly steps: Evidence;
  readonly lossGapPercent: number;
  /** Time that compression could save is short, the link has room for the rest of the household, and epochs come to an end. */
  readonly fits: boolean;
}

/** 100 Mbit/s down, 20 Mbit/s up. */
const homeLink: Link = { upBytesPerSecond: 2.5e6, downBytesPerSecond: 12.5e6, roundTripMs: 40 };
/** Matrix products on a laptop's processor. */
const laptopFlops = 1e11;
/** The rest is for checkpoints, joiners, and the household. */
const mostLinkShare = 0.6;
const mostWaitingForLink = 0.1;
/** That epochs are made so long for the sake of the link. The network cuts them off after half an hour, if they are not meant to be longer. */
const longestEpochSeconds = 20 * 60;

export function situationOf(request: PlanRequest): Situation {
  const { model, stages, replicas, link } = request;
  const joint = jointMeasurements.filter((one) => model.width >= one.width && replicas <= one.replicas);
  return {
    request,
    link: {
      upBytesPerSecond: link.upBytesPerSecond ?? homeLink.upBytesPerSecond,
      downBytesPerSecond: link.downBytesPerSecond ?? homeLink.downBytesPerSecond,
      roundTripMs: link.roundTripMs ?? homeLink.roundTripMs,
    },
    parameters: Math.max(...cutIntoStages(model, stages).map((stage) => stageLayout(model, stage).length)),
    tokensPerSecond: replicaTokensPerSecond(request),
    joint: joint.map((one) => ({ ...one, parts: partsOf(one, request) })),
  };
}

export function costingOf(situation: Situation, choice: Choice): Costing {
  const { request, link, tokensPerSecond } = situation;
  const { training, stages } = request;
  const { batch, stepsPerEpoch, exchange } = choice;
  const microbatchTokens = batch.sequencesPerMicrobatch * training.sequenceLength;
  const tokensPerStep = sequencesOf(batch) * training.sequenceLength;
  const [microbatchSeconds, stepSeconds] = [microbatchTokens / tokensPerSecond, tokensPerStep / tokensPerSecond];
  const roundTripSeconds = link.roundTripMs / 1000;
  const narrow = Math.min(link.upBytesPerSecond, link.downBytesPerSecond);
  const bytes = sizesOf(situation, choice);

  const flowing = (tokensPerSecond * (bytes.boundaries + bytes.exchange / tokensPerStep)) / narrow;
  const congestion = stepSeconds * Math.max(0, flowing - 1);
  // A microbatch crosses every boundary twice; between homes that takes a round trip to the network, and the time to send it.
  const crossings = 2 * (stages - 1);
  const sending = (crossings * bytes.microbatch) / narrow;
  const latency = crossings * roundTripSeconds;
  const filling = (stages - 1) * microbatchSeconds;
  // Whoever may compute ahead of the optimizer's steps does not empty the pipeline before them.
  const flushes = training.maximumStaleness === 0 ? 1 : 0;
  const exchanging = exchange.exchange?.lag === 0 ? roundTripSeconds + bytes.exchange / narrow : 0;
  // Contributions, averaged slices and weights each take their round trips.
  const tokensPerEpoch = tokensPerStep * stepsPerEpoch;
  const askedTokensPerEpoch = sequencesOf(training) * training.sequenceLength * training.stepsPerEpoch;
  const merging = bytes.merge > 0 ? (3 * roundTripSeconds + bytes.merge / narrow) / stepsPerEpoch : 0;
  const pipeline = flushes * (filling + latency);
  const boundaries = congestion + flushes * sending;
  const seconds = stepSeconds + boundaries + exchanging + merging + pipeline;

  const bytesPerToken = {
    boundaries: bytes.boundaries,
    exchange: bytes.exchange / tokensPerStep,
    merge: bytes.merge / (tokensPerStep * stepsPerEpoch),
  };
  const linkShare =
    ((bytesPerToken.boundaries + bytesPerToken.exchange + bytesPerToken.merge) * tokensPerSecond) / narrow;
  const steps = stepEvidence(request, batch);
  const compression = compressionEvidence(situation, choice);
  return {
    choice,
    tokensPerStep,
    pathSeconds: stages * microbatchSeconds + latency + sending,
    microbatchSeconds,
    bytesPerToken,
    waits: {
      boundaries: boundaries / seconds,
      exchange: exchanging / seconds,
      merge: merging / seconds,
      steps: pipeline / seconds,
    },
    efficiency: stepSeconds / seconds,
    linkShare,
    compression,
    partsGapPercent: partsGapOf(choice),
    steps,
    lossGapPercent: compression.lossGapPercent + steps.lossGapPercent,
    fits:
      linkShare <= mostLinkShare &&
      (boundaries + exchanging + merging) / seconds <= mostWaitingForLink &&
      (stepsPerEpoch * seconds <= longestEpochSeconds || tokensPerEpoch <= askedTokensPerEpoch),
  };
}

/** Of tokens, as much as both speed and loss are worth: larger is better. */
export function worthOf({ efficiency, lossGapPercent }: Pick<Costing, "efficiency" | "lossGapPercent">): number {
  return Math.log(Math.max(efficiency, 1e-9)) - tokensPerLossPercent * lossGapPercent;
}

export function mergeEvidence({ exchange, merge }: Choice): Evidence {
  return exchange.exchange === null || merge.lossGapPercent === 0 ? merge : mergeBehindExchange;
}

function partsGapOf(choice: Choice): number {
  return choice.boundary.lossGapPercent + choice.exchange.lossGapPercent + mergeEvidence(choice).lossGapPercent;
}

/** Independent noise adds up, unless it was measured that it does not. */
function compressionEvidence({ joint }: Situation, choice: Choice): Evidence {
  const { boundary, exchange, merge } = choice;
  const sum = partsGapOf(choice);
  const whole = joint.find(
    ({ lossGapPercent, parts }) =>
      lossGapPercent < sum &&
      boundary.lossGapPercent <= parts.boundary &&
      exchange.lossGapPercent <= parts.exchange &&
      merge.lossGapPercent <= parts.merge,
  );
  return whole ?? { lossGapPercent: sum, measured: null };
}

function stepEvidence(request: PlanRequest, batch: Batch): Evidence {
  const { maximumStaleness, optimizer } = request.training;
  const evidence = batchEvidence(request, batch);
  if (maximumStaleness === 0) return evidence;
  const { lossGapPercent, measured } = stalenessCosts[optimizer];
  return { lossGapPercent: evidence.lossGapPercent + lossGapPercent, measured };
}

/** Bytes that a replica of the largest stage sends, with boundaries at both ends where some stage has that. */
function sizesOf({ request, parameters }: Situation, { boundary, exchange, merge, batch }: Choice) {
  const { model, training, stages, replicas } = request;
  const rows = batch.sequencesPerMicrobatch * training.sequenceLength;
  const shape = { rows, columns: boundary.rank ?? model.width };
  const forward = stages > 1 ? rowPayloadBytes(boundary.formats.forward, shape) : 0;
  const backward = stages > 1 ? rowPayloadBytes(boundary.formats.backward, shape) : 0;
  const codec = exchange.exchange?.codec;
  const vectorBytes = (of: VectorCodec) => vectorPayloadBytes(of, parameters).most;
  return {
    /** Of one microbatch at one boundary, on average of both directions. */
    microbatch: (forward + backward) / 2,
    /** Of each token. */
    boundaries: (forward + (stages > 2 ? backward : 0)) / rows,
    /** In every step. */
    exchange: codec === undefined ? 0 : (Math.min(replicas, largestExchangeGroup) - 1) * vectorBytes(codec),
    /** In every merge, as docs/protocol.md works it out under "What a merge costs". */
    merge: replicas < 2 ? 0 : (3 - 4 / replicas) * vectorBytes(merge.codec),
  };
}

function replicaTokensPerSecond({ model, stages, blockTokensPerSecond }: PlanRequest): number {
  const block = blockParameterCount(model);
  // Each parameter is multiplied with once forward and twice backward, and each channel with half of the context, twice.
  const blockRate = blockTokensPerSecond ?? laptopFlops / (6 * block + 6 * model.context * model.width);
  const blocksPerStage = parameterCount(model) / block / stages;
  return Math.max(1e-3, blockRate / blocksPerStage);
}
