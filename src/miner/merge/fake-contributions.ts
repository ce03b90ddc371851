/** For tests and the benchmark: what replicas bring to a merge, and what it should come to. */
import { fillNormal, streamKey } from "../../compute/random.ts";
import type { Contribution } from "../../compute/worker-protocol.ts";
import type { MergeOutcome } from "./fake-orchestrator.ts";
import type { FakeSwarm } from "./fake-swarm.ts";

/** Normal numbers, and uneven tokens. */
export function fakeContributions(replicas: number, parameters: number, seed: number): readonly Contribution[] {
  return Array.from({ length: replicas }, (_, replica) => {
    const values = new Float32Array(parameters);
    fillNormal(values, streamKey(seed, `replica ${replica}`), 1);
    return { values, tokens: 100 + 10 * (replica % 7) };
  });
}

/**
 * How far the new weights of any live replica are from what they should be: minus the mean, weighted by tokens and in double
 * precision, of what the contributors of the merge brought.
 */
export function largestError(swarm: FakeSwarm, contributions: readonly Contribution[], outcome: MergeOutcome): number {
  const counted = swarm.members.flatMap(({ id }, index) =>
    outcome.contributors.includes(id) ? (contributions[index] ?? []) : [],
  );
  const tokens = counted.reduce((sum, one) => sum + one.tokens, 0);
  const mean = new Float64Array(contributions[0]?.values.length ?? 0);
  for (const one of counted)
    for (const [i, value] of one.values.entries()) mean[i] = (mean[i] ?? 0) + (value * one.tokens) / tokens;
  let largest = 0;
  for (const { id, engine } of swarm.members)
    if (swarm.live.has(id))
      for (const [i, weight] of engine.weights.entries())
        largest = Math.max(largest, Math.abs(weight + (mean[i] ?? 0)));
  return largest;
}
