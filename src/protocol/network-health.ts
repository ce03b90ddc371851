/** What a network's gateway says of itself to whoever asks, by `GET /health`. */
import { z } from "zod";
import { failureCodes } from "./failure.ts";
import { runIdSchema } from "./ids.ts";

const count = z.int().nonnegative();

export const networkHealthSchema = z.object({
  /** Its public key. */
  networkId: z.string().max(200),
  protocol: count,
  runs: z.array(z.object({ runId: runIdSchema, phase: z.string().max(64) })).readonly(),
  /** That are open. */
  connections: count,
  /** What was refused since it began, by why. */
  refusals: z.partialRecord(z.enum(failureCodes), count),
});
export type NetworkHealth = Readonly<z.infer<typeof networkHealthSchema>>;
