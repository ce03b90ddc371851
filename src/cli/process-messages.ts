/** What the processes of a local network tell the supervisor that started them, over their Node channel. */
import { z } from "zod";
import { failureSchema } from "../protocol/failure.ts";
import { processViewSchema } from "../protocol/machine-view.ts";

export const childMessageSchema = z.discriminatedUnion("type", [
  /** The orchestrator takes sessions at this address. */
  z.object({ type: z.literal("listening"), url: z.url() }),
  /** The process ends because of an expected failure. */
  z.object({ type: z.literal("failed"), failure: failureSchema }),
  /** Its own children, whenever they change. */
  z.object({ type: z.literal("children"), processes: z.array(processViewSchema) }),
]);
export type ChildMessage = z.infer<typeof childMessageSchema>;

/** What the supervisor tells this computer's own miner, for the `processes` command. */
export const parentMessageSchema = z.object({ type: z.literal("processes"), processes: z.array(processViewSchema) });
export type ParentMessage = z.infer<typeof parentMessageSchema>;

/** Does nothing when nobody started this process over a channel. */
export function tellParent(message: ChildMessage): void {
  if (process.connected) process.send?.(message);
}
