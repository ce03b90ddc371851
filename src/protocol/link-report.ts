/** What a miner's connection to the network was measured to carry. Apart from `messages.ts`, so that a browser can read it without the wire encoding. */
import { z } from "zod";

/** Null: not measured yet. */
export const linkReportSchema = z.strictObject({
  upBytesPerSecond: z.number().positive().nullable(),
  downBytesPerSecond: z.number().positive().nullable(),
  /** To the network and back. */
  roundTripMs: z.number().nonnegative().nullable(),
});
export type LinkReport = Readonly<z.infer<typeof linkReportSchema>>;

export const unmeasuredLink: LinkReport = { upBytesPerSecond: null, downBytesPerSecond: null, roundTripMs: null };
