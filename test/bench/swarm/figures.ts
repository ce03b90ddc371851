/** What the courses of a swarm and of a single process come to: functions of what was read. */
import { parameterCount } from "../../../src/compute/model/stages.ts";
import type { RunDefinition } from "../../../src/network/orchestrator/core/definition.ts";
import { type FrameBytes, type MessageKind, messageKinds, noFrameBytes } from "../../../src/protocol/frames.ts";
import type { LineCounters } from "../../lab/homes/emulated-homes.ts";
import { mean, rounded } from "../shared/report.ts";
import type { Course, Reading, ShownTraffic } from "./bench-swarm.ts";
import type { ProcessorSeconds } from "./processor-time.ts";

/** A model after so many tokens and so many seconds of training. */
export interface Validated {
  readonly tokens: number;
  readonly seconds: number;
  readonly validationLossNats: number;
}

interface Pace {
  readonly tokens: number;
  readonly seconds: number;
}

/** From the first epoch's end to the last one's, so that nothing that happens once is counted; of a single epoch, all of it. */
export function tokensPerSecond(epochs: readonly Pace[]): number {
  const last = epochs.at(-1);
  const first = epochs.length > 1 ? epochs[0] : undefined;
  if (last === undefined) return Number.NaN;
  return (last.tokens - (first?.tokens ?? 0)) / (last.seconds - (first?.seconds ?? 0));
}

/** When a falling curve first reaches a loss, between two points along a straight line; null: it does not. */
export function secondsToLoss(curve: readonly Validated[], lossNats: number): number | null {
  const index = curve.findIndex(({ validationLossNats }) => validationLossNats <= lossNats);
  const reached = curve[index];
  if (reached === undefined) return null;
  const before = curve[index - 1];
  if (before === undefined) return reached.seconds;
  const share = (before.validationLossNats - lossNats) / (before.validationLossNats - reached.validationLossNats);
  return before.seconds + share * (reached.seconds - before.seconds);
}

/** The loss of a curve at so many tokens, between two points along a straight line; beyond its ends, that of the end. */
export function lossAt(curve: readonly Validated[], tokens: number): number {
  const index = curve.findIndex((point) => point.tokens >= tokens);
  const after = curve[index] ?? curve.at(-1);
  const before = curve[index - 1];
  if (after === undefined) return Number.NaN;
  if (before === undefined) return after.validationLossNats;
  const share = (tokens - before.tokens) / (after.tokens - before.tokens);
  return before.validationLossNats + share * (after.validationLossNats - before.validationLossNats);
}

export interface Comparison {
  readonly efficiency: number;
  /** At equal tokens. */
  readonly lossGapPercent: number;
  /** Centralised ÷ swarm, to the loss that both reach. */
  readonly timeToLossRatio: number | null;
  readonly lossNats: number;
  readonly secondsToLoss: { readonly centralised: number | null; readonly swarm: number | null };
}

/** `epochs`: all of the swarm's; `swarm`: those whose checkpoint was stored and validated. */
export function compare(
  centralised: readonly Validated[],
  swarm: readonly Validated[],
  epochs: readonly Pace[],
): Comparison {
  const end = swarm.at(-1);
  const expected = lossAt(centralised, end?.tokens ?? Number.NaN);
  const lossNats = Math.max(end?.validationLossNats ?? Number.NaN, expected);
  const seconds = { centralised: secondsToLoss(centralised, lossNats), swarm: secondsToLoss(swarm, lossNats) };
  const bothReach = seconds.centralised !== null && seconds.swarm !== null;
  return {
    efficiency: tokensPerSecond(epochs) / tokensPerSecond(centralised),
    lossGapPercent: 100 * ((end?.validationLossNats ?? Number.NaN) / expected - 1),
    timeToLossRatio: bothReach ? (seconds.centralised ?? 0) / (seconds.swarm ?? 0) : null,
    lossNats,
    secondsToLoss: seconds,
  };
}

const bytesPerBrainFloat = 2;
const slices: readonly MessageKind[] = ["merge", "blob-request", "blob-part"];

export interface TrafficFigures {
  /** Forward and back, over all boundaries. */
  readonly activationBytesPerToken: number;
  readonly exchangeBytesPerToken: number;
  /** All that all replicas send each other to merge. */
  readonly mergeBytesPerEpoch: number;
  /** Bytes of bf16 in full width ÷ these. */
  readonly activationCompression: number | null;
  readonly mergeCompression: number | null;
}

/** What miners sent each other in so many epochs. */
export interface SentFrames {
  readonly bytes: FrameBytes;
  readonly tokens: number;
  readonly epochs: number;
}

/** Of those that went over the gateway, from the first epoch's end to the last one's. */
export function relayedFrames(course: Course): SentFrames {
  const { from, to, epochs } = steadySpan(course);
  const bytes = { ...noFrameBytes };
  for (const kind of messageKinds) bytes[kind] = to.frameBytes[kind] - from.frameBytes[kind];
  return { bytes, tokens: to.tokens - from.tokens, epochs };
}

/** Whatever way they went, as the miners say: since they were started, as they are asked at the end alone. */
export function shownFrames({ sentFrames: bytes, epochs }: Course): SentFrames {
  return { bytes, tokens: epochs.at(-1)?.tokens ?? 0, epochs: epochs.length };
}

export function trafficFigures(
  { model, stages, minimumReplicas }: Pick<RunDefinition, "model" | "stages" | "minimumReplicas">,
  { bytes, tokens, epochs }: SentFrames,
): TrafficFigures {
  const sent = (...kinds: readonly MessageKind[]) => kinds.reduce((sum, kind) => sum + bytes[kind], 0);
  const activations = sent("forward", "backward") / tokens;
  const merge = sent(...slices) / epochs;
  const { bottleneck: _, ...plain } = model;
  const plainActivations = 2 * bytesPerBrainFloat * plain.width * (stages - 1);
  return {
    activationBytesPerToken: rounded(activations, 1),
    exchangeBytesPerToken: rounded(sent("exchange") / tokens, 1),
    mergeBytesPerEpoch: Math.round(merge),
    activationCompression: activations > 0 ? rounded(plainActivations / activations, 2) : null,
    mergeCompression: merge > 0 ? rounded(mergeBytes(parameterCount(plain), minimumReplicas) / merge, 2) : null,
  };
}

/** As docs/protocol.md counts it, "What a merge costs", with two bytes a number and all replicas together. */
function mergeBytes(parameters: number, replicas: number): number {
  return replicas < 2 ? 0 : (3 * replicas - 4) * parameters * bytesPerBrainFloat;
}

export interface ProcessorFigures extends ProcessorSeconds {
  /** Of the clock. */
  readonly seconds: number;
  readonly tokens: number;
  /** All of them together. */
  readonly secondsPerMillionTokens: number;
}

/** From the first epoch's end to the last one's. */
export function processorFigures(course: Course): ProcessorFigures | null {
  const { from, to } = steadySpan(course);
  if (from.processor === null || to.processor === null) return null;
  const [before, after] = [from.processor, to.processor];
  const spent = (role: keyof ProcessorSeconds) => rounded(after[role] - before[role], 2);
  const tokens = to.tokens - from.tokens;
  const used = {
    workers: spent("workers"),
    daemons: spent("daemons"),
    orchestrator: spent("orchestrator"),
    links: spent("links"),
  };
  const total = Object.values(used).reduce((sum, seconds) => sum + seconds, 0);
  return {
    ...used,
    seconds: rounded((to.atMs - from.atMs) / 1000, 2),
    tokens,
    secondsPerMillionTokens: rounded((1e6 * total) / tokens, 1),
  };
}

interface Span {
  readonly from: Reading;
  readonly to: Reading;
  readonly epochs: number;
}

/** What `tokensPerSecond` looks at. */
export function steadySpan({ training, epochs }: Course): Span {
  const to = epochs.at(-1);
  const [first] = epochs;
  if (to === undefined) throw new Error("no epoch ended");
  return epochs.length > 1 && first !== undefined
    ? { from: first, to, epochs: epochs.length - 1 }
    : { from: training, to, epochs: 1 };
}

export interface LineFigures {
  /** Mean over the homes, and the busiest one. */
  readonly upMbps: { readonly mean: number; readonly most: number };
  readonly downMbps: { readonly mean: number; readonly most: number };
  readonly bytesPerToken: number;
  /** Of the packets that were sent, by lines and by full queues. */
  readonly lostShare: number;
  /** By which what miners show of their traffic differs from what crossed their lines: the worst of them, since the start. */
  readonly shownDifferencePercent: { readonly up: number; readonly down: number };
}

/** What crossed the homes' lines, checkpoints and acknowledgements included; null without emulated ones. */
export function lineFigures(course: Course): LineFigures | null {
  const { from, to } = steadySpan(course);
  const { lines: before } = from;
  if (before === null || to.lines === null) return null;
  const seconds = (to.atMs - from.atMs) / 1000;
  const crossed = (direction: "up" | "down", count: keyof LineCounters) =>
    (to.lines ?? []).map((home, index) => home[direction][count] - (before[index]?.[direction][count] ?? 0));
  const rates = (direction: "up" | "down") => {
    const mbps = crossed(direction, "bytes").map((bytes) => (8 * bytes) / 1e6 / seconds);
    return { mean: rounded(mean(mbps), 3), most: rounded(Math.max(...mbps), 3) };
  };
  const all = (count: keyof LineCounters) => sum([...crossed("up", count), ...crossed("down", count)]);
  const dropped = all("droppedPackets");
  return {
    upMbps: rates("up"),
    downMbps: rates("down"),
    bytesPerToken: rounded(sum(crossed("up", "bytes")) / (to.tokens - from.tokens), 1),
    lostShare: rounded((all("lostPackets") + dropped) / (all("packets") + dropped), 5),
    shownDifferencePercent: {
      up: shownDifferencePercent(course, ({ crossed, shown }) => shown.sentBytes / crossed.up.bytes),
      down: shownDifferencePercent(course, ({ crossed, shown }) => shown.receivedBytes / crossed.down.bytes),
    },
  };
}

function shownDifferencePercent({ shown }: Course, ratio: (home: ShownTraffic) => number): number {
  const differences = (shown ?? []).map((home) => 100 * (ratio(home) - 1));
  return rounded(differences.toSorted((a, b) => Math.abs(b) - Math.abs(a))[0] ?? Number.NaN, 2);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
