/** What was averaged, in as many reports as the protocol's limits ask for. */
import { type ClientMessage, reducedLimits } from "../../protocol/client-messages.ts";
import type { Averaged } from "./reducer.ts";

type ReducedSlices = Extract<ClientMessage, { type: "reduced" }>["slices"];

export function reportsOf(averaged: readonly Averaged[]): readonly ReducedSlices[] {
  const reports: ReducedSlices[number][][] = [];
  let missingInLast = 0;
  for (const { partition, hash, missing } of averaged) {
    const last = reports.at(-1);
    const isFull =
      last === undefined ||
      last.length === reducedLimits.slices ||
      missingInLast + missing.length > reducedLimits.missing;
    if (isFull) {
      reports.push([{ partition, hash, missing }]);
      missingInLast = missing.length;
    } else {
      last.push({ partition, hash, missing });
      missingInLast += missing.length;
    }
  }
  return reports;
}
