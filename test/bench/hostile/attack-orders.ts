/** What a measurement and its attackers tell each other, over their Node channel. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { z } from "zod";
import { targetSchema } from "./attacker.ts";

export const attackOrderSchema = z.union([z.strictObject({ target: targetSchema }), z.literal("stop")]);
export type AttackOrder = Readonly<z.infer<typeof attackOrderSchema>>;

const attackReportSchema = z.strictObject({ attempts: z.number() });

/** Stops attackers; resolves with how often they tried. Rejects when their process has ended. */
export async function stopAttackers(attackers: ChildProcess): Promise<number> {
  const ended = once(attackers, "exit").then(() => {
    throw new Error("the attackers' process has ended");
  });
  const report = once(attackers, "message");
  attackers.send("stop" satisfies AttackOrder);
  const [message] = await Promise.race([report, ended]);
  return attackReportSchema.parse(message).attempts;
}

export const rogueOptionsSchema = z.strictObject({
  networkUrl: z.string(),
  stateFolder: z.string(),
  maxUploadMbps: z.number(),
  direct: z.boolean(),
});
export type RogueOptions = Readonly<z.infer<typeof rogueOptionsSchema>>;
