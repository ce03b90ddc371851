import { describe, expect, it } from "vitest";
import { fillNormal, streamKey } from "../../compute/random.ts";
import { FakeOrchestrator } from "./fake-orchestrator.ts";
import { FakeSwarm } from "./fake-swarm.ts";

const seed = 20_261_126;

function contributionsOf(replicas: number, parameters: number) {
  return Array.from({ length: replicas }, (_, replica) => {
    const values = new Float32Array(parameters);
    fillNormal(values, streamKey(seed, `replica ${replica}`), 1);
    return { values, tokens: 100 + 10 * replica };
  });
}

/** What all weights shall be: minus the mean of the contributions that count, weighted by tokens, in double precision. */
function largestError(
  swarm: FakeSwarm,
  contributions: ReturnType<typeof contributionsOf>,
  counted: readonly number[],
): number {
  const tokens = counted.reduce((sum, index) => sum + (contributions[index]?.tokens ?? 0), 0);
  let largest = 0;
  for (const { id, engine } of swarm.members) {
    if (!swarm.live.has(id)) continue;
    for (const [i, weight] of engine.weights.entries()) {
      const sum = counted.reduce((total, index) => {
        const { values, tokens: weightOf } = contributions[index] ?? { values: [], tokens: 0 };
        return total + (values[i] ?? 0) * weightOf;
      }, 0);
      largest = Math.max(largest, Math.abs(weight + sum / tokens));
    }
  }
  return largest;
}

describe("a butterfly merge", () => {
  it.each([1, 2, 3, 4, 8])(
    "among %i replicas is the mean of what they bring, the same in all of them",
    async (replicas) => {
      const contributions = contributionsOf(replicas, 1000);
      const swarm = new FakeSwarm(contributions);
      const outcome = await new FakeOrchestrator(swarm, 1000).merge();
      expect(outcome.lost).toBe(0);
      expect(outcome.weightsHashes.size).toBe(1);
      expect(outcome.outliers.size).toBe(0);
      expect(
        largestError(
          swarm,
          contributions,
          contributions.map((_, index) => index),
        ),
      ).toBeLessThan(1e-6);
    },
  );
});
