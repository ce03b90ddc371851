/** Which miner holds which stage, and why: as the orchestrator tells it and people read it. Rates are in tokens per second. */
import { z } from "zod";
import { minerIdSchema } from "./ids.ts";

const count = z.int().nonnegative();
const rate = z.number().nonnegative();

export const placementReasonSchema = z.enum([
  /** The miner holds the stage's weights already. */
  "kept",
  /** Nobody held the stage. */
  "first-replica",
  /** The stage had no second reliable replica. */
  "second-replica",
  /** The stage was the slowest one, or as slow. */
  "bottleneck",
  /** The miner's former stage, or another miner, was needed elsewhere. */
  "exchange",
]);
export type PlacementReason = z.infer<typeof placementReasonSchema>;

/** A miner at a stage, or one without a stage. */
export const placementExplanationSchema = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("placed"),
    minerId: minerIdSchema,
    stage: count,
    reason: placementReasonSchema,
    /** That the stage needs at least. */
    neededBytes: count,
    /** That the miner has left with all its stages. */
    freeBytes: count,
    /** Which part of the stage's rate is the miner's. */
    share: z.number().min(0).max(1),
  }),
  z.object({
    kind: z.literal("idle"),
    minerId: minerIdSchema,
    /** Of the stage that needs least. */
    neededBytes: count,
    memoryBytes: count,
  }),
]);
export type PlacementExplanation = Readonly<z.infer<typeof placementExplanationSchema>>;

export const placementViewSchema = z.object({
  /** Of the slowest stage: what the pipeline lets through. */
  tokensPerSecond: rate,
  stages: z
    .array(
      z.object({
        index: count,
        tokensPerSecond: rate,
        /** It is as slow as the slowest, and no miner of it has time to spare. */
        bottleneck: z.boolean(),
      }),
    )
    .readonly(),
  /** By miner, in the order in which they came, and stage. */
  explanations: z.array(placementExplanationSchema).readonly(),
  /** What would be left if one miner went and nobody took its place. */
  departures: z
    .array(
      z.object({
        minerId: minerIdSchema,
        tokensPerSecond: rate,
        /** Stages that would have no replica. */
        uncovered: z.array(count).readonly(),
      }),
    )
    .readonly(),
});
export type PlacementView = Readonly<z.infer<typeof placementViewSchema>>;
