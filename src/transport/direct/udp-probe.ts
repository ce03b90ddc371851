/** Asks a network's bootstrap nodes at which address they see this computer: how its router treats UDP, as hole punching needs it. */
import type { DhtAddress } from "hyperdht";
import { isLoopback } from "../loopback.ts";

/** For all of them; each is asked again meanwhile. */
const answerMs = 3000;
/** As hyperdht has it: fewer may agree by chance. */
const fewestAnswers = 2;

export type UdpFinding = "consistent" | "changing" | "blocked";

/**
 * `blocked`: nobody answers. `consistent`: all see this computer at one address and port, so that peers can be told of it; `changing`:
 * they do not. The nodes of one network share an address, so a router that changes ports by address only counts as consistent.
 */
export async function probeUdp(nodes: readonly DhtAddress[]): Promise<UdpFinding> {
  const { default: Node } = await import("hyperdht");
  const host = nodes.every((one) => isLoopback(one.host)) ? "127.0.0.1" : "0.0.0.0";
  const node = new Node({ bootstrap: [], host, ephemeral: true });
  try {
    const patience = new Promise<null>((resolve) => setTimeout(resolve, answerMs, null).unref());
    const asked = nodes.map((address) =>
      Promise.race([node.ping(address).then(({ to }) => `${to.host}:${to.port}`), patience]).catch(() => null),
    );
    const seenAt = (await Promise.all(asked)).filter((place) => place !== null);
    if (seenAt.length === 0) return "blocked";
    const isCertain = seenAt.length >= Math.min(fewestAnswers, nodes.length);
    return isCertain && new Set(seenAt).size === 1 ? "consistent" : "changing";
  } finally {
    await node.destroy({ force: true });
  }
}
