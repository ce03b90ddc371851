/** What a replica does with everybody's contributions, without the messages between replicas: all of the vector is one slice. */
import type { ComputeEngine } from "../../src/compute/engine.ts";
import { averageSlices } from "../../src/compute/merge/average-slices.ts";
import type { TrainingConfig } from "../../src/compute/model/config.ts";
import type { Contribution } from "../../src/compute/worker-protocol.ts";

export async function mergeContributions(
  replica: Pick<ComputeEngine, "beginMerge" | "mergeSlice" | "applyMerged">,
  mode: TrainingConfig["mode"],
  contributions: readonly Contribution[],
): Promise<void> {
  const { values } = averageSlices(contributions, mode);
  await replica.beginMerge();
  if (values !== null) await replica.mergeSlice({ from: 0, values });
  await replica.applyMerged({ tokens: contributions.reduce((sum, { tokens }) => sum + tokens, 0) });
}
