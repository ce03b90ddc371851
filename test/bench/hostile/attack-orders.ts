/** What a measurement and its attackers tell each other, over their Node channel. */
import { z } from "zod";
import { targetSchema } from "./attacker.ts";

export const attackOrderSchema = z.union([z.strictObject({ target: targetSchema }), z.literal("stop")]);
export type AttackOrder = Readonly<z.infer<typeof attackOrderSchema>>;

/** Of attackers, when they have stopped. */
export const attackReportSchema = z.strictObject({ attempts: z.number() });

export const rogueOptionsSchema = z.strictObject({
  networkUrl: z.string(),
  stateFolder: z.string(),
  maxUploadMbps: z.number(),
  direct: z.boolean(),
});
export type RogueOptions = Readonly<z.infer<typeof rogueOptionsSchema>>;
