/**
 * What replicas say that they trained, held against what was handed out. The orchestrator sees no microbatch, but it dealt them
 * out: a source has its share of every step and no more (`source-shares.ts`), and each microbatch passes through one replica of
 * every other stage.
 */
import type { MinerId } from "../../../protocol/ids.ts";
import { sourceShares } from "../../../protocol/source-shares.ts";
import type { RunState } from "./state.ts";

interface Claim {
  readonly tokens: number;
  /** The replica's share of the stage's work, relative to the others'. */
  readonly weight: number;
}

/** The most tokens that this replica can have trained in the epoch. */
export function mostTokensOf(
  { definition, roster }: RunState,
  stage: number,
  minerId: MinerId,
  plannedTokens: number,
): number {
  if (stage > 0) return plannedTokens;
  const { sequenceLength, sequencesPerMicrobatch, microbatchesPerStep, stepsPerEpoch } = definition.training;
  const { sources } = roster.announced;
  const index = sources.findIndex((source) => source.minerId === minerId);
  const microbatches = sourceShares(sources, microbatchesPerStep)[index]?.count ?? 0;
  return microbatches * stepsPerEpoch * sequenceLength * sequencesPerMicrobatch;
}

/**
 * The tokens that count of each claim, `handedOut` together at most. Where more are claimed nobody can tell whose are too many, so
 * each keeps what it claims up to a level in proportion to its weight, which is as high as it may be (max-min fairness, Bertsekas &
 * Gallager 1992, 6.5.2): who did no more than its share loses nothing by what others claim.
 */
export function countedTokens(claims: readonly Claim[], handedOut: number): readonly number[] {
  const counted = claims.map(({ tokens }) => tokens);
  const byDemand = [...claims.entries()].toSorted(([, a], [, b]) => a.tokens * b.weight - b.tokens * a.weight);
  let left = handedOut;
  let weightLeft = claims.reduce((sum, { weight }) => sum + weight, 0);
  for (const [index, { tokens, weight }] of byDemand) {
    const most = Math.floor((left * weight) / weightLeft);
    counted[index] = Math.min(tokens, most);
    left -= Math.min(tokens, most);
    weightLeft -= weight;
  }
  return counted;
}
