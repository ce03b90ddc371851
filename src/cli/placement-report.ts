/** `tah run placement`: what each miner of a run holds, and why, in words. */
import { z } from "zod";
import { assertNever } from "../protocol/assert-never.ts";
import { minerIdSchema, runIdSchema } from "../protocol/ids.ts";
import { type PlacementExplanation, placementReasonSchema, placementViewSchema } from "../protocol/placement-view.ts";
import type { RunView } from "../protocol/run-view.ts";
import { countText } from "./formats.ts";

const count = z.int().nonnegative();

export const placementReportSchema = z.object({
  runId: runIdSchema,
  ...placementViewSchema.pick({ tokensPerSecond: true, stages: true }).shape,
  miners: z.array(
    z.object({
      minerId: minerIdSchema,
      name: z.string(),
      places: z.array(
        z.object({
          stage: count,
          reason: placementReasonSchema,
          /** The reason, as a sentence. */
          why: z.string(),
          neededBytes: count,
          freeBytes: count,
          share: z.number(),
        }),
      ),
      /** Why it has no place; null where it has one. */
      idle: z.object({ why: z.string(), neededBytes: count, memoryBytes: count }).nullable(),
      /** What would be left without it; null where hardly anything would be different. */
      departure: z.object({ tokensPerSecond: z.number(), uncovered: z.array(count), why: z.string() }).nullable(),
    }),
  ),
});
export type PlacementReport = z.infer<typeof placementReportSchema>;

/** Null before the run has placed anybody. */
export function placementReport({ runId, placement, stages }: RunView): PlacementReport | null {
  if (placement === null) return null;
  const names = new Map(stages.flatMap(({ replicas }) => replicas.map(({ minerId, name }) => [minerId, name])));
  const departures = new Map(placement.departures.map((one) => [one.minerId, one]));
  const byMiner = Map.groupBy(placement.explanations, ({ minerId }) => minerId);
  return {
    runId,
    tokensPerSecond: placement.tokensPerSecond,
    stages: placement.stages,
    miners: Array.from(byMiner, ([minerId, explanations]) => {
      const departure = departures.get(minerId);
      const idle = explanations.find((one) => one.kind === "idle");
      return {
        minerId,
        name: names.get(minerId) ?? "",
        places: explanations.flatMap((one) => (one.kind === "placed" ? [placeReport(one)] : [])),
        idle: idle ? { why: idleWhy(idle), neededBytes: idle.neededBytes, memoryBytes: idle.memoryBytes } : null,
        departure: departure
          ? {
              tokensPerSecond: departure.tokensPerSecond,
              uncovered: [...departure.uncovered],
              why: departureWhy(departure.uncovered, departure.tokensPerSecond / placement.tokensPerSecond),
            }
          : null,
      };
    }),
  };
}

export function placementText({ runId, tokensPerSecond, stages, miners }: PlacementReport): string {
  const rows = miners.map(({ name, minerId, places, idle, departure }) => {
    const held = places.map((place) => {
      const share = `${Math.round(100 * place.share)} % of its rate`;
      return `    stage ${place.stage + 1}: ${place.why} (${share}; needs ${sizeText(place.neededBytes)}, ${sizeText(place.freeBytes)} free)`;
    });
    return [
      `  ${name || minerId.slice(0, 8)}`,
      ...held,
      ...(idle ? [`    idle: ${idle.why}`] : []),
      ...(departure ? [`    ${departure.why}`] : []),
    ].join("\n");
  });
  return [
    `run ${runId}: ${countText(tokensPerSecond)} tokens/s pass through all ${stages.length} stages`,
    ...stages.map(
      ({ index, tokensPerSecond: rate, bottleneck }) =>
        `  stage ${index + 1} of ${stages.length}: ${countText(rate)} tokens/s${bottleneck ? ", the bottleneck" : ""}`,
    ),
    ...rows,
  ].join("\n");
}

type Placed = Extract<PlacementExplanation, { kind: "placed" }>;
type Idle = Extract<PlacementExplanation, { kind: "idle" }>;

function placeReport({
  stage,
  reason,
  neededBytes,
  freeBytes,
  share,
}: Placed): PlacementReport["miners"][number]["places"][number] {
  return { stage, reason, why: placedWhy(reason), neededBytes, freeBytes, share };
}

function placedWhy(reason: Placed["reason"]): string {
  switch (reason) {
    case "kept":
      return "kept, for it holds the weights already";
    case "first-replica":
      return "nobody else held it";
    case "second-replica":
      return "it had no second reliable replica";
    case "bottleneck":
      return "it was the slowest";
    case "exchange":
      return "in exchange: another miner was needed elsewhere";
    default:
      return assertNever(reason);
  }
}

function idleWhy({ neededBytes, memoryBytes }: Idle): string {
  return `no stage fits its memory: the smallest needs ${sizeText(neededBytes)}, it has ${sizeText(memoryBytes)}`;
}

function departureWhy(uncovered: readonly number[], left: number): string {
  if (uncovered.length === 0) return `without it ${Math.round(100 * left)} % of the tokens per second are left`;
  return `without it nobody holds ${uncovered.map((stage) => `stage ${stage + 1}`).join(", ")}`;
}

function sizeText(bytes: number): string {
  const mebibytes = bytes / 2 ** 20;
  return mebibytes < 10_240 ? `${countText(mebibytes)} MiB` : `${countText(mebibytes / 1024)} GiB`;
}
