/** What every attack has in common: whom it attacks, and over and over. */
import { setTimeout as pause } from "node:timers/promises";
import { z } from "zod";
import { minerIdSchema } from "../../../src/protocol/ids.ts";

export const targetSchema = z.strictObject({
  port: z.number(),
  /** From where it is attacked: all attackers share one address, and it is not that of the honest, who are not of their household. */
  localAddress: z.ipv4(),
  /** In the epoch. */
  miners: z.array(minerIdSchema),
  /** UDP ports of this computer, of the network and its miners. */
  datagramPorts: z.array(z.number()),
  /** A blob that the network has. */
  blob: z.string(),
});
export type Target = Readonly<z.infer<typeof targetSchema>>;

/** One that goes on until its process ends. */
export class Attacker {
  readonly target: Target;
  /** Connections, messages, requests or datagrams so far. */
  attempts = 0;

  constructor(target: Target) {
    this.target = target;
  }

  /** Does the same over and over in so many lanes. What fails was refused, and is tried again. */
  async inLanes(lanes: number, attempt: () => Promise<void>): Promise<never> {
    const lane = async () => {
      for (;;) {
        await attempt().catch(() => undefined);
        await pause(1);
      }
    };
    await Promise.all(Array.from({ length: lanes }, lane));
    throw new Error("lanes have no end");
  }
}
