/** Peers with direct connections on loopback; what they say to make them is passed on in memory, where a gateway would be. */
import { systemClock } from "../../src/miner/session/clock.ts";
import type { Identity } from "../../src/protocol/identity.ts";
import type { MinerId } from "../../src/protocol/ids.ts";
import { encodePathMessage } from "../../src/protocol/path-messages.ts";
import { BootstrapNodes } from "../../src/transport/direct/bootstrap-nodes.ts";
import { DirectLink } from "../../src/transport/direct/direct-link.ts";
import { DirectNode } from "../../src/transport/direct/direct-node.ts";
import type { DirectStream } from "../../src/transport/direct/direct-stream.ts";
import { MemoryNetwork } from "../../src/transport/memory-link.ts";
import type { PeerLink } from "../../src/transport/peer-link.ts";
import { Traffic } from "../../src/transport/traffic/traffic.ts";
import type { PeerLinkNetwork } from "./peer-link.ts";

export async function openDirectNetwork(): Promise<PeerLinkNetwork> {
  const bootstrap = await BootstrapNodes.open({ listenHost: "127.0.0.1", publicHost: "127.0.0.1", firstPort: 0 });
  const gateway = new MemoryNetwork();
  const links = new Map<MinerId, DirectLink>();
  const relays = new Map<MinerId, PeerLink>();
  const hostile = new Map<MinerId, DirectNode>();
  /** A link says when messages to a peer take another way. */
  let changed = Promise.withResolvers<void>();

  function open(identity: Identity): DirectLink {
    const { minerId } = identity;
    const relay = gateway.link(minerId);
    relays.set(minerId, relay);
    const link = new DirectLink({
      self: minerId,
      relay,
      dialer: new DirectNode({ identity, bootstrap: bootstrap.addresses, log: () => {} }),
      traffic: new Traffic(systemClock),
      clock: systemClock,
      dropped: () => {},
      log: () => {
        changed.resolve();
        changed = Promise.withResolvers();
      },
    });
    links.set(minerId, link);
    admitAll();
    return link;
  }

  function admitAll(): void {
    for (const link of links.values()) link.admit(new Set([...links.keys(), ...hostile.keys()]));
  }

  /** Word of one another makes them connect, and leaves no message behind. */
  async function introduce(one: MinerId, other: MinerId): Promise<void> {
    const body = encodePathMessage({ type: "received", connection: "0".repeat(16), messages: null });
    await relays.get(one)?.send(other, "path", body);
    await relays.get(other)?.send(one, "path", body);
    const isDirect = (from: MinerId, to: MinerId) =>
      links.get(from)?.ways.some(({ minerId, way }) => minerId === to && way === "direct");
    while (!isDirect(one, other) || !isDirect(other, one)) await changed.promise;
  }

  return {
    async connect(identity) {
      const others = [...links.keys()].filter((other) => other !== identity.minerId);
      const link = open(identity);
      for (const other of others) await introduce(identity.minerId, other);
      return link;
    },
    async connectHostile(identity) {
      const dialer = new DirectNode({ identity, bootstrap: bootstrap.addresses, log: () => {} });
      hostile.set(identity.minerId, dialer);
      gateway.link(identity.minerId);
      admitAll();
      let stream: DirectStream | null = null;
      let reads = true;
      return {
        async send(to, bytes) {
          const forget = () => {
            stream = null;
          };
          // Once it has sent what it must not it is not let in again for a while.
          stream ??= await dialled(dialer, to, forget).catch(() => null);
          if (reads) stream?.write(bytes);
        },
        stopReading() {
          reads = false;
          for (const to of links.keys()) void dialled(dialer, to, () => undefined).catch(() => undefined);
        },
      };
    },
    async lose({ minerId }) {
      links.get(minerId)?.close();
      links.delete(minerId);
    },
    async close() {
      for (const link of links.values()) link.close();
      for (const dialer of hostile.values()) dialer.close();
      await bootstrap.close();
    },
  };
}

/** A stream that the other end has taken, and that nobody reads from. */
async function dialled(dialer: DirectNode, to: MinerId, closed: () => void): Promise<DirectStream> {
  const { stream } = await dialer.dial(to, new AbortController().signal);
  stream.on("error", () => undefined); // `close` follows
  stream.on("close", closed);
  return stream;
}
