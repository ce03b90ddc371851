/** What can be done to the UDP ports where direct connections begin and end. */
import { createSocket } from "node:dgram";
import { setImmediate } from "node:timers/promises";
import type { Attacker } from "./attacker.ts";

const perTurn = 64;

/** Nothing in particular, and what looks like a packet of UDX or of the DHT and is none. */
export async function floodWithDatagrams(attacker: Attacker): Promise<void> {
  const socket = createSocket("udp4");
  await new Promise<void>((resolve) => socket.bind(0, attacker.target.localAddress, resolve));
  const datagrams = [
    Buffer.alloc(1200),
    // Magic and version of UDX, for a stream that does not exist; a request of the DHT that breaks off.
    Buffer.concat([Buffer.of(0xff, 0x01), Buffer.alloc(1198)]),
    Buffer.concat([Buffer.of(0x03), Buffer.alloc(60, 1)]),
  ];
  const { datagramPorts } = attacker.target;
  for (;;) {
    for (let count = 0; count < perTurn; count++) {
      const port = datagramPorts[attacker.attempts % datagramPorts.length];
      const datagram = datagrams[attacker.attempts % datagrams.length];
      attacker.attempts += 1;
      if (port !== undefined && datagram !== undefined) socket.send(datagram, port, "127.0.0.1", () => undefined);
    }
    await setImmediate();
  }
}
