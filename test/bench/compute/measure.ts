/** Ours and the peer in turn, round by round, and what follows from the rounds. */
import { median, progress, rounded } from "../shared/report.ts";
import type { Configuration } from "./configuration.ts";
import { type PeerCommand, type Rates, runPeer, runPeerGemm, runRates, runTraining, type Sample } from "./programs.ts";
import { type AttentionCount, flopPerToken } from "./shape.ts";

export interface Round {
  readonly ours: Sample;
  readonly theirs: Sample | null;
}

export interface RatesRound {
  readonly ours: Rates;
  readonly theirGemmGflops: number | null;
}

export function trainingRound(configuration: Configuration, peer: PeerCommand | null): Round {
  return { ours: runTraining(configuration), theirs: peer && runPeer(peer, configuration) };
}

export function ratesRound(configuration: Configuration, peer: PeerCommand | null): RatesRound {
  return { ours: runRates(configuration), theirGemmGflops: peer && runPeerGemm(peer, configuration) };
}

export interface Figures {
  /** Of the best step of all rounds. */
  readonly tokensPerSecond: number;
  /** The median round's median step. */
  readonly medianTokensPerSecond: number;
  readonly peakRssMiB: number;
  readonly blockGflops: number;
  readonly peer: {
    readonly engine: string;
    readonly medianTokensPerSecond: number;
    readonly peakRssMiB: number;
    readonly blockGflops: number;
  } | null;
  /** Ours ÷ the peer's, in floating-point operations per second; the median of the rounds' ratios. */
  readonly speedRatio: number | null;
  /** Ours ÷ the peer's peak memory, likewise. */
  readonly memoryRatio: number | null;
}

/** The peer has no grouped-query attention: it computes all heads, which counts as the work that it is. */
export function figuresOf(configuration: Configuration, rounds: readonly Round[]): Figures {
  const ungrouped = { ...configuration, keyValueHeads: undefined };
  const pairs = rounds.flatMap(({ ours, theirs }) => (theirs === null ? [] : [{ ours, theirs }]));
  const [firstPair] = pairs;
  const theirs = pairs.map((pair) => pair.theirs);
  const speed = ({ ours, theirs }: (typeof pairs)[number]) =>
    gflops(configuration, ours.medianTokensPerSecond) / gflops(ungrouped, theirs.medianTokensPerSecond);
  const medianTokensPerSecond = medianOf(rounds, ({ ours }) => ours.medianTokensPerSecond);
  const theirTokensPerSecond = medianOf(theirs, (sample) => sample.medianTokensPerSecond);
  return {
    tokensPerSecond: Math.max(...rounds.map(({ ours }) => ours.tokensPerSecond)),
    medianTokensPerSecond,
    peakRssMiB: medianOf(rounds, ({ ours }) => ours.peakRssMiB),
    blockGflops: rounded(gflops(configuration, medianTokensPerSecond), 1),
    peer: firstPair
      ? {
          engine: firstPair.theirs.engine,
          medianTokensPerSecond: theirTokensPerSecond,
          peakRssMiB: medianOf(theirs, (sample) => sample.peakRssMiB),
          blockGflops: rounded(gflops(ungrouped, theirTokensPerSecond), 1),
        }
      : null,
    speedRatio: firstPair ? rounded(medianOf(pairs, speed), 3) : null,
    memoryRatio: firstPair
      ? rounded(
          medianOf(pairs, (pair) => pair.ours.peakRssMiB / pair.theirs.peakRssMiB),
          3,
        )
      : null,
  };
}

/** Ours and the peer's best single product of all rounds, whichever is higher: the machine's best measured rate. */
export function bestGemm(rounds: readonly RatesRound[]) {
  const ours = Math.max(...rounds.map((round) => round.ours.gemmGflops));
  const theirs = rounds.flatMap(({ theirGemmGflops }) => theirGemmGflops ?? []);
  const peerGemmGflops = theirs.length > 0 ? Math.max(...theirs) : null;
  return {
    gemmGflops: rounded(Math.max(ours, peerGemmGflops ?? 0), 1),
    ownGemmGflops: rounded(ours, 1),
    peerGemmGflops: peerGemmGflops && rounded(peerGemmGflops, 1),
  };
}

export function adamwCost(rounds: readonly RatesRound[]): number {
  return rounded(
    medianOf(rounds, ({ ours }) => ours.adamwNanosecondsPerParameter),
    3,
  );
}

export function gflops(configuration: Configuration, tokensPerSecond: number, attention?: AttentionCount): number {
  return (tokensPerSecond * flopPerToken(configuration, attention)) / 1e9;
}

/** A PyTorch on a reference BLAS is no peer; it is two orders of magnitude slower, and this says so. */
export function warnOfSlowPeer({ blockGflops, peer }: Figures, name: string): void {
  if (peer && peer.blockGflops < blockGflops / 4)
    progress(
      `WARNING: ${name}: the peer reaches ${peer.blockGflops} GFLOP/s, ours ${blockGflops}. Is its BLAS the reference one (Debian: install libopenblas0-pthread), or the machine busy?`,
    );
}

export function medianOf<Item>(items: readonly Item[], value: (item: Item) => number): number {
  return median(items.map(value));
}
