/** What every attack has in common: whom it attacks, and whether it goes on. */
import { setTimeout as pause } from "node:timers/promises";
import { z } from "zod";
import { minerIdSchema } from "../../../src/protocol/ids.ts";

export const targetSchema = z.strictObject({
  port: z.number(),
  /** In the epoch. */
  miners: z.array(minerIdSchema),
  /** UDP ports of this computer, of the network and its miners. */
  datagramPorts: z.array(z.number()),
  /** A blob that the network has. */
  blob: z.string(),
});
export type Target = Readonly<z.infer<typeof targetSchema>>;

/** Attackers share one address, and it is not that of the honest: they are not of their household. */
export const attackerAddress = "127.0.0.2";

export class Attacker {
  readonly target: Target;
  readonly #isOver: () => boolean;
  /** Connections, messages, requests or datagrams so far. */
  attempts = 0;

  constructor(target: Target, isOver: () => boolean) {
    this.target = target;
    this.#isOver = isOver;
  }

  get isOver(): boolean {
    return this.#isOver();
  }

  /** Does the same over and over in so many lanes, until it is over. What fails was refused, and is tried again. */
  async inLanes(lanes: number, attempt: () => Promise<void>): Promise<void> {
    const lane = async () => {
      while (!this.isOver) {
        await attempt().catch(() => undefined);
        await pause(1);
      }
    };
    await Promise.all(Array.from({ length: lanes }, lane));
  }
}
