/** How a home's line is described on a command line. */
import { z } from "zod";
import { congestionControls, type HomeLine } from "./emulated-homes.ts";

const quantity = z.coerce.number().nonnegative();

export const lineFlags = {
  /** 0: no limit. */
  upMbps: quantity.default(20),
  downMbps: quantity.default(100),
  rttMs: quantity.default(40),
  jitterMs: quantity.default(0),
  lossPercent: quantity.max(100).default(0),
  congestionControl: z.enum(congestionControls).optional(),
};

export type LineFlags = z.output<z.ZodObject<typeof lineFlags>>;

export function lineOf({ upMbps, downMbps, rttMs, jitterMs, lossPercent }: LineFlags): HomeLine {
  return { upMbps: upMbps || null, downMbps: downMbps || null, roundTripMs: rttMs, jitterMs, lossPercent };
}
