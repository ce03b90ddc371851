/** For tests and the benchmark: what replicas bring to a merge, and what it should come to. */
import { fillNormal, streamKey } from "../../compute/random.ts";
import type { MergeOutcome } from "./fake-orchestrator.ts";
import type { FakeSwarm } from "./fake-swarm.ts";
import type { FakeContribution } from "./fake-vector-engine.ts";

/** Normal numbers, and uneven tokens. */
export function fakeContributions(replicas: number, parameters: number, seed: number): readonly FakeContribution[] {
  return Array.from({ length: replicas }, (_, replica) => {
    const values = new Float32Array(parameters);
    fillNormal(values, streamKey(seed, `replica ${replica}`), 1);
    return { values, tokens: 100 + 10 * (replica % 7) };
  });
}

/** How far the new weights of any live replica are from what they should be, at most in any of them. */
export function largestError(
  swarm: FakeSwarm,
  contributions: readonly FakeContribution[],
  outcome: MergeOutcome,
): number {
  const mean = meanOf(swarm, contributions, outcome);
  return Math.max(
    0,
    ...liveWeights(swarm).map((weights) => largest(mean.map((value, i) => value + (weights[i] ?? 0)))),
  );
}

/** The same as lengths of vectors, in comparison with that of the mean. */
export function relativeError(
  swarm: FakeSwarm,
  contributions: readonly FakeContribution[],
  outcome: MergeOutcome,
): number {
  const mean = meanOf(swarm, contributions, outcome);
  const errorOf = (weights: Float32Array) => norm(mean.map((value, i) => value + (weights[i] ?? 0))) / norm(mean);
  return Math.max(0, ...liveWeights(swarm).map(errorOf));
}

/** Weighted by tokens and in double precision, of what the contributors of the merge brought: the new weights are minus that. */
function meanOf(swarm: FakeSwarm, contributions: readonly FakeContribution[], outcome: MergeOutcome): Float64Array {
  const counted = swarm.members.flatMap(({ id }, index) =>
    outcome.contributors.includes(id) ? (contributions[index] ?? []) : [],
  );
  const tokens = counted.reduce((sum, one) => sum + one.tokens, 0);
  const mean = new Float64Array(contributions[0]?.values.length ?? 0);
  for (const one of counted)
    for (const [i, value] of one.values.entries()) mean[i] = (mean[i] ?? 0) + (value * one.tokens) / tokens;
  return mean;
}

function liveWeights({ members, live }: FakeSwarm): readonly Float32Array[] {
  return members.filter(({ id }) => live.has(id)).map(({ engine }) => engine.weights);
}

function largest(values: Float64Array): number {
  return values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}

function norm(values: Float64Array): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0));
}
