/** What a benchmark's `--compression` means: `off`, `on`, or what differs from off, as in `forward=int8,merge=dense2`. */
import { z } from "zod";
import type { RunOptions } from "../../../src/network/run-options.ts";
import {
  exchangeNameSchema,
  noCompression,
  rowFormatSchema,
  type VectorCodec,
} from "../../../src/protocol/run-config.ts";

const channels = z.coerce.number().int().nonnegative();

const specificationSchema = z.strictObject({
  bottleneck: channels.optional(),
  hidden: channels.optional(),
  forward: rowFormatSchema.optional(),
  backward: rowFormatSchema.optional(),
  exchange: exchangeNameSchema.optional(),
  lag: z
    .enum(["0", "1"])
    .transform(Number)
    .pipe(z.union([z.literal(0), z.literal(1)]))
    .optional(),
  /** `f32`, `dense2`, `top-k:0.03` */
  merge: z.string().transform(parseVectorCodec).optional(),
});

/** What of a run's options says how it is compressed. */
export interface CompressedRun {
  readonly options: Pick<
    RunOptions,
    "bottleneck" | "bottleneckHidden" | "boundaryForward" | "boundaryBackward" | "exchange" | "exchangeLag"
  >;
  readonly merge: VectorCodec;
}

/** Without extra loss at equal tokens worth speaking of, for a home's line; see docs/benchmarks.md. */
const on = "forward=int8,backward=int4,exchange=dense2,lag=1,merge=dense2";
/** Of the model's width. */
const bottleneckShare = 1 / 8;

/** `width`: the model's. Throws `ZodError` for what is no specification. */
export function parseCompression(text: string, width: number): CompressedRun {
  const words = text === "off" ? "" : text === "on" ? `bottleneck=${Math.ceil(width * bottleneckShare)},${on}` : text;
  const pairs = words.split(",").filter((word) => word !== "");
  const { bottleneck, hidden, forward, backward, exchange, lag, merge } = specificationSchema.parse(
    Object.fromEntries(pairs.map((pair) => pair.split("="))),
  );
  return {
    options: {
      bottleneck,
      bottleneckHidden: hidden,
      boundaryForward: forward,
      boundaryBackward: backward,
      exchange,
      exchangeLag: lag,
    },
    merge: merge ?? noCompression.merge,
  };
}

function parseVectorCodec(text: string, context: z.RefinementCtx): VectorCodec {
  const dense = /^dense(1|2|4|8)$/.exec(text);
  const topK = /^top-k:(0?\.\d+)$/.exec(text);
  if (text === "f32") return { kind: "f32" };
  if (dense !== null) return { kind: "dense", bits: Number(dense[1]) as 1 | 2 | 4 | 8 };
  if (topK !== null) return { kind: "top-k", share: Number(topK[1]) };
  context.addIssue({ code: "custom", message: "f32, dense1, dense2, dense4, dense8, or top-k:0.03" });
  return z.NEVER;
}
