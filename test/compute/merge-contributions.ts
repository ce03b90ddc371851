/** What a replica does with everybody's contributions, without the messages between replicas: all of the vector is one slice, as it is. */
import type { ComputeEngine } from "../../src/compute/engine.ts";
import { averageSlices } from "../../src/compute/merge/average-slices.ts";
import type { TrainingConfig } from "../../src/compute/model/config.ts";
import { bytesOf, floatsOf } from "../../src/protocol/identity.ts";

export interface WholeContribution {
  readonly values: Float32Array;
  readonly tokens: number;
}

/** Of a replica whose merges are not compressed. */
export async function wholeContribution(
  replica: Pick<ComputeEngine, "state" | "contribution">,
): Promise<WholeContribution> {
  const { length } = (await replica.state()).weights;
  const { slices, tokens } = await replica.contribution({ partitions: [{ from: 0, length }] });
  const [slice] = slices;
  return { values: slice ? floatsOf(slice) : new Float32Array(length), tokens };
}

/** As `mergeSlice` takes it. */
export function sliceFrom(from: number, values: Float32Array) {
  return { from, length: values.length, payload: bytesOf(values) };
}

export async function mergeContributions(
  replica: Pick<ComputeEngine, "beginMerge" | "mergeSlice" | "applyMerged">,
  mode: TrainingConfig["mode"],
  contributions: readonly WholeContribution[],
): Promise<void> {
  const { values } = averageSlices(contributions, mode);
  await replica.beginMerge();
  if (values !== null) await replica.mergeSlice(sliceFrom(0, values));
  await replica.applyMerged({ tokens: contributions.reduce((sum, { tokens }) => sum + tokens, 0), counted: true });
}
