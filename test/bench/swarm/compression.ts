/** What a benchmark's `--compression` means: `off`, `on`, or what differs from off, as in `forward=int8,merge=dense2`. */
import { z } from "zod";
import type { RunOptions } from "../../../src/network/run-options.ts";
import { exchangeNameSchema, mergeCodecNameSchema, rowFormatSchema } from "../../../src/protocol/run-config.ts";

type CompressionOptions = Pick<
  RunOptions,
  "bottleneck" | "bottleneckHidden" | "boundaryForward" | "boundaryBackward" | "exchange" | "exchangeLag" | "mergeCodec"
>;

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
    .pipe(z.literal([0, 1]))
    .optional(),
  merge: mergeCodecNameSchema.optional(),
});

/** Everything that costs little loss. The bottleneck's share is that of the model's width. */
const on = "forward=int8,backward=int4,exchange=dense2,lag=1,merge=dense2";
const bottleneckShare = 1 / 8;

/** `width`: the model's. Throws `ZodError` for what is no specification. */
export function parseCompression(text: string, width: number): CompressionOptions {
  const words = text === "off" ? "" : text === "on" ? `bottleneck=${Math.ceil(width * bottleneckShare)},${on}` : text;
  const pairs = words.split(",").filter((word) => word !== "");
  const { bottleneck, hidden, forward, backward, exchange, lag, merge } = specificationSchema.parse(
    Object.fromEntries(pairs.map((pair) => pair.split("="))),
  );
  return {
    bottleneck,
    bottleneckHidden: hidden,
    boundaryForward: forward,
    boundaryBackward: backward,
    exchange,
    exchangeLag: lag,
    mergeCodec: merge,
  };
}
