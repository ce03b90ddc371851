/** How a run would best be compressed on given links, and what each part of that costs: what the network recommends and people read. */
import { z } from "zod";
import { compressionSchema } from "./run-config.ts";

const count = z.int().nonnegative();
const share = z.number().nonnegative();

export const planCostSchema = z.object({
  part: z.enum([
    /** What crosses stage boundaries, with every token. */
    "boundaries",
    /** Between the replicas of a stage, at every step. */
    "exchange",
    /** Likewise, at the epoch's end. */
    "merge",
    /** Every optimizer step: the pipeline empties before it, the more seldom the more tokens it takes, which teach less each. */
    "steps",
    /** One stage's upload of what an epoch starts from, now and then, in what the rest leaves of the link. */
    "checkpoint",
  ]),
  /** That a replica sends, and receives as well but for checkpoints; of the stage that sends most. */
  bytesPerToken: z.number().nonnegative(),
  bytesPerEpoch: count,
  /** Of the link, if the replica computes at full speed; for checkpoints 0. */
  uplinkShare: share,
  downlinkShare: share,
  /** Of the time, that training waits for it. What all of them leave is the plan's `efficiency`. */
  waitShare: share,
  /** Of the loss, against the same schedule uncompressed. */
  lossGapPercent: z.number(),
  /** Where that was measured; null: it is an estimate from what was measured beside it. */
  measured: z.string().nullable(),
});
export type PlanCost = Readonly<z.infer<typeof planCostSchema>>;

export const planSchema = z.object({
  compression: compressionSchema,
  /** Where the model is cut; only a new model can have one. */
  bottleneckRank: z.int().positive().nullable(),
  stepsPerEpoch: z.int().positive(),
  /** Of each source, in every optimizer step. */
  microbatchesPerStep: z.int().positive(),
  sequencesPerMicrobatch: z.int().positive(),
  /** Of all sources together. */
  tokensPerStep: z.int().positive(),
  /** That one source has under way, to hide round trips. */
  microbatchesInFlight: z.int().positive(),
  /** The links that it was made for. */
  link: z.object({
    upBytesPerSecond: z.number().positive(),
    downBytesPerSecond: z.number().positive(),
    roundTripMs: z.number().nonnegative(),
  }),
  /** Of a replica, if nothing but its processor held it up. */
  tokensPerSecond: z.number().positive(),
  /** Of that, what links and pipeline let it have. */
  efficiency: z.number().min(0).max(1),
  /** Of all parts together: their sum, or less where that was measured. */
  lossGapPercent: z.number(),
  /** Where the parts were measured together; null: they were not. */
  measured: z.string().nullable(),
  costs: z.array(planCostSchema).readonly(),
});
export type Plan = Readonly<z.infer<typeof planSchema>>;
