/** What one choice comes to on a link: how much of the time a replica trains, what it sends, and what that costs of the loss. */
import { rowPayloadBytes } from "../../compute/codec/rows.ts";
import { vectorPayloadBytes } from "../../compute/codec/vector.ts";
import { stageLayout } from "../../compute/model/layout.ts";
import { blockParameterCount, cutIntoStages, parameterCount } from "../../compute/model/stages.ts";
import { largestExchangeGroup } from "../../protocol/exchange-messages.ts";
import type { Plan } from "../../protocol/plan-view.ts";
import type { VectorCodec } from "../../protocol/run-config.ts";
import { sequencesOf, tokensPerLossPercent } from "./batch.ts";
import { type Evidence, jointMeasurements, mergeBehindExchange } from "./choices.ts";
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
  /** That are under way between a microbatch's start at its source and its gradient's return, if it waits nowhere. */
  readonly microbatchesOnPath: number;
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
  /** Of its narrower direction, that a replica would need to train all the time. */
  readonly linkShare: number;
  /** Compression's part of the loss, and where it was measured as a whole. */
  readonly compression: Evidence;
  /** The same as its parts add up, to tell apart what costs no more than was measured together. */
  readonly partsGapPercent: number;
  readonly lossGapPercent: number;
  /** Its epochs do not take too long, or no more tokens than was asked for. */
  readonly endsInTime: boolean;
  /** It does, time that compression could save is short, and the link has room for the rest of the household. */
  readonly fits: boolean;
}

/** 100 Mbit/s down, 20 Mbit/s up. */
const homeLink: Link = { upBytesPerSecond: 2.5e6, downBytesPerSecond: 12.5e6, roundTripMs: 40 };
/** Matrix products on a laptop's processor. */
const laptopFlops = 1e11;
/** The rest is for checkpoints, joiners, and the household. */
const mostLinkShare = 0.6;
const mostWaitingForLink = 0.1;
/** No epoch is made longer than that for the sake of the link: the network cuts it off after half an hour, and newcomers wait for its end. */
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
  const { sequenceLength, stepsPerEpoch: askedSteps } = request.training;
  const { batch, stepsPerEpoch } = choice;
  const tokensPerStep = sequencesOf(batch) * sequenceLength;
  const tokensPerEpoch = tokensPerStep * stepsPerEpoch;
  const bytes = sizesOf(situation, choice);
  const times = timesOf(situation, choice, bytes);
  const seconds = times.training + times.boundaries + times.exchange + times.merge + times.pipeline;
  const bytesPerToken = {
    boundaries: bytes.boundaries,
    exchange: bytes.exchange / tokensPerStep,
    merge: bytes.merge / tokensPerEpoch,
  };
  const bytesPerSecond = tokensPerSecond * (bytesPerToken.boundaries + bytesPerToken.exchange + bytesPerToken.merge);
  const linkShare = bytesPerSecond / narrowest(link);
  const compression = compressionEvidence(situation, choice);
  const endsInTime =
    stepsPerEpoch * seconds <= longestEpochSeconds ||
    tokensPerEpoch <= sequencesOf(request.training) * sequenceLength * askedSteps;
  return {
    choice,
    tokensPerStep,
    microbatchesOnPath: times.path / times.microbatch,
    bytesPerToken,
    waits: {
      boundaries: times.boundaries / seconds,
      exchange: times.exchange / seconds,
      merge: times.merge / seconds,
      steps: times.pipeline / seconds,
    },
    efficiency: times.training / seconds,
    linkShare,
    compression,
    partsGapPercent: partsGapOf(choice),
    lossGapPercent: compression.lossGapPercent + choice.steps.lossGapPercent,
    endsInTime,
    fits:
      endsInTime &&
      linkShare <= mostLinkShare &&
      times.boundaries + times.exchange + times.merge <= mostWaitingForLink * seconds,
  };
}

/** Seconds of each optimizer step, and of a microbatch by itself. */
function timesOf(
  { request, link, tokensPerSecond }: Situation,
  { batch, stepsPerEpoch, exchange }: Choice,
  bytes: ReturnType<typeof sizesOf>,
) {
  const { training, stages } = request;
  const microbatch = (batch.sequencesPerMicrobatch * training.sequenceLength) / tokensPerSecond;
  const step = batch.microbatchesPerStep * microbatch;
  const bytesPerSecond = narrowest(link);
  const roundTrip = link.roundTripMs / 1000;
  // A microbatch crosses every boundary twice; between homes that takes a round trip to the network, and the time to send it.
  const crossings = 2 * (stages - 1);
  const sending = (crossings * bytes.microbatch) / bytesPerSecond;
  const latency = crossings * roundTrip;
  // Whoever may compute ahead of the optimizer's steps does not empty the pipeline before them.
  const flushes = training.maximumStaleness === 0 ? 1 : 0;
  // What flows while a step is computed, and holds it up where it takes longer.
  const activations = bytes.boundaries * step * tokensPerSecond;
  const lag = exchange.exchange?.lag;
  const movements = lag === 1 ? bytes.exchange : 0;
  const flowing = activations + movements;
  const congestion = Math.max(0, flowing / bytesPerSecond - step);
  const waiting = lag === 0 ? roundTrip + bytes.exchange / bytesPerSecond : 0;
  return {
    microbatch,
    /** From its start at the source until its gradient is back, if it waits nowhere. */
    path: stages * microbatch + latency + sending,
    training: step,
    boundaries: (flowing > 0 ? (congestion * activations) / flowing : 0) + flushes * sending,
    exchange: (flowing > 0 ? (congestion * movements) / flowing : 0) + waiting,
    // Contributions, averaged slices and weights each take their round trips.
    merge: bytes.merge > 0 ? (3 * roundTrip + bytes.merge / bytesPerSecond) / stepsPerEpoch : 0,
    /** It fills and empties. */
    pipeline: flushes * ((stages - 1) * microbatch + latency),
  };
}

function narrowest({ upBytesPerSecond, downBytesPerSecond }: Link): number {
  return Math.min(upBytesPerSecond, downBytesPerSecond);
}

/** Of speed, of loss and of room for the household on the link, in logarithms of tokens: larger is better. */
export function worthOf({ efficiency, linkShare, lossGapPercent }: Costing): number {
  // What is more than full has slowed the training down already.
  const crowding = Math.max(1, Math.min(1, linkShare) / mostLinkShare);
  return Math.log(efficiency / crowding) - tokensPerLossPercent * lossGapPercent;
}

export function mergeEvidence({ exchange, merge }: Choice): Evidence {
  const isBehind = exchange.exchange !== null && merge.lossGapPercent <= mergeBehindExchange.upToPercent;
  return isBehind && merge.lossGapPercent > 0 ? mergeBehindExchange : merge;
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
