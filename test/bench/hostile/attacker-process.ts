/**
 * One attack as a process of its own: `attacker-process.ts NAME`. Its parent says at whom, when to begin and when to stop, and is told
 * how often it tried. It has the lowest priority: the attack shall cost what it makes the others do, and not the processor that attackers
 * bring along at home.
 */
import { constants, setPriority } from "node:os";
import { z } from "zod";
import { attackOrderSchema } from "./attack-orders.ts";
import { Attacker } from "./attacker.ts";
import type { StrangerName } from "./attacks.ts";
import * as connections from "./connection-attacks.ts";
import { floodWithDatagrams } from "./datagram-attacks.ts";
import * as sessions from "./session-attacks.ts";

const programs: Readonly<Record<StrangerName, (attacker: Attacker) => Promise<void>>> = {
  connections: connections.floodWithConnections,
  "slow-writers": connections.writeSlowly,
  "forged-hellos": connections.forgeHellos,
  "replayed-hellos": connections.replayHellos,
  pings: connections.floodWithPings,
  requests: connections.floodWithRequests,
  garbage: sessions.sendGarbage,
  "outside-frames": sessions.sendFramesFromOutside,
  chatter: sessions.chatter,
  joins: sessions.comeAndGo,
  "half-frames": sessions.sendHalfFrames,
  "slow-readers": sessions.readSlowly,
  "blob-readers": sessions.fetchBlobs,
  uploads: sessions.uploadUnasked,
  "one-key": sessions.openSessionsOfOneKey,
  datagrams: floodWithDatagrams,
};

setPriority(constants.priority.PRIORITY_LOW);
const attack = programs[z.enum(Object.keys(programs) as [StrangerName]).parse(process.argv[2])];
let attacker: Attacker | null = null;
process.on("message", (message) => {
  const order = attackOrderSchema.parse(message);
  if (order === "stop") process.send?.({ attempts: attacker?.attempts ?? 0 }, () => process.exit(0));
  else {
    attacker = new Attacker(order.target);
    void attack(attacker);
  }
});
process.once("disconnect", () => process.exit(0));
