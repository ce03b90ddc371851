/** What `tah doctor` measured of the line to a network. Apart from `messages.ts`, so that a browser can read it without the wire encoding. */
import { z } from "zod";
import { failureSchema } from "./failure.ts";
import { linkReportSchema } from "./link-report.ts";

/** That one transfer of a measurement moves at most; a line on which it takes less than a second is faster than training needs. */
export const mostLineBytes = 16 << 20;

export const lineViewSchema = z.object({
  /** Address of the network, without what is secret in it. */
  network: z.string(),
  /** How messages of other miners reach this one: straight, through the network's gateway, or not at all. */
  way: z.enum(["direct", "relayed", "blocked"]),
  /** Why the network is not reached; null: it is. */
  failure: failureSchema.nullable(),
  /** To the network and back; null: not measured. `jitterMs`: by how much one differs from the next. */
  roundTripMs: linkReportSchema.shape.roundTripMs,
  jitterMs: z.number().nonnegative().nullable(),
  /** Within what this machine may send and receive, and beside what it did meanwhile. */
  upBytesPerSecond: linkReportSchema.shape.upBytesPerSecond,
  downBytesPerSecond: linkReportSchema.shape.downBytesPerSecond,
  /** Why rates are not among it. */
  withoutRates: z.enum(["not-asked", "metered", "refused", "too-slow"]).nullable(),
  /** That the measurement sent and received, on the wire. */
  movedBytes: z.int().nonnegative(),
  udp: z.enum([
    /** The router keeps a port towards everybody: direct connections work with most others. */
    "consistent",
    /** It takes another one for everyone: they work with few. */
    "changing",
    "blocked",
    /** The network has no direct connections. */
    "not-offered",
    "switched-off",
    "not-measured",
  ]),
});
export type LineView = Readonly<z.infer<typeof lineViewSchema>>;
