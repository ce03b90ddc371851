/** What a measurement and its attackers tell each other, over their Node channel. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { z } from "zod";
import { targetSchema } from "./attacker.ts";

export const attackOrderSchema = z.union([z.strictObject({ target: targetSchema }), z.literal("stop")]);
export type AttackOrder = Readonly<z.infer<typeof attackOrderSchema>>;

const attackReportSchema = z.strictObject({ attempts: z.number() });

const patienceMs = 60_000;

/** Stops attackers; resolves with how often they tried. Rejects when their process has ended, or does not answer. */
export async function stopAttackers(attackers: ChildProcess): Promise<number> {
  if (!attackers.connected) throw new Error("the attackers' process has ended");
  const report = once(attackers, "message", { signal: AbortSignal.timeout(patienceMs) });
  attackers.send("stop" satisfies AttackOrder, () => undefined); // one that has ended meanwhile does not answer
  const [message] = await report;
  return attackReportSchema.parse(message).attempts;
}

export const rogueOptionsSchema = z.strictObject({
  networkUrl: z.string(),
  stateFolder: z.string(),
  maxUploadMbps: z.number(),
  direct: z.boolean(),
});
export type RogueOptions = Readonly<z.infer<typeof rogueOptionsSchema>>;
