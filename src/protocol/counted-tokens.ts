/**
 * What replicas of a stage say that they trained, held against what was handed out: each microbatch passes through one of them.
 * Where more is claimed nobody can tell whose tokens are too many; everybody comes to the same by themselves.
 */

interface Claim {
  readonly tokens: number;
  /** The replica's share of the stage's work, relative to the others'. */
  readonly weight: number;
}

/**
 * The tokens that count of each claim, `handedOut` together at most: each replica keeps what it claims up to a level in proportion
 * to its weight, which is as high as it may be (max-min fairness, Bertsekas & Gallager 1992, 6.5.2). Who did no more than its share
 * loses nothing by what others claim.
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
