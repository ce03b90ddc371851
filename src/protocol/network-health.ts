/** What a network's gateway says of itself to whoever asks, by `GET /health`. Others than a gateway may answer: no text is taken as it is. */
import { z } from "zod";
import { minerIdSchema, runIdSchema } from "./ids.ts";

const count = z.int().nonnegative();
/** A phase's or a failure code's; a newer network may have others than this build. */
const word = z.string().regex(/^[a-z-]{1,64}$/);

export const networkHealthSchema = z.object({
  /** Its public key. */
  networkId: minerIdSchema,
  protocol: count,
  runs: z.array(z.object({ runId: runIdSchema, phase: word })).readonly(),
  /** That are open. */
  connections: count,
  /** How often what was refused since it began, by failure code. */
  refusals: z.record(word, count),
});
export type NetworkHealth = Readonly<z.input<typeof networkHealthSchema>>;
