import { FailureError } from "../../src/protocol/failure.ts";
import { decodeFrame } from "../../src/protocol/frames.ts";
import type { MinerId } from "../../src/protocol/ids.ts";
import { MemoryNetwork } from "../../src/transport/memory-link.ts";
import { Reassembly } from "../../src/transport/reassembly.ts";
import { describePeerLink, type HostilePeer } from "./peer-link.ts";
import { openDirectNetwork } from "./peer-link-direct.ts";
import { openGatewayNetwork } from "./peer-link-gateway.ts";

describePeerLink("in memory", async () => {
  const network = new MemoryNetwork();
  return {
    connect: async ({ minerId }) => network.link(minerId),
    connectHostile: async ({ minerId }) => hostilePeer(network, minerId),
    lose: async ({ minerId }) => network.remove(minerId),
    close: async () => undefined,
  };
});

describePeerLink("relayed by a gateway", openGatewayNetwork);

describePeerLink("over direct connections", openDirectNetwork);

/** Nothing travels in frames in memory: what its frames amount to is passed on. */
function hostilePeer(network: MemoryNetwork, self: MinerId): HostilePeer {
  network.link(self);
  const reassembly = new Reassembly({ onDropped: () => undefined });
  return {
    async send(to, bytes) {
      try {
        const message = reassembly.accept({ ...decodeFrame(bytes), peer: self });
        if (message !== null) network.pass({ ...message, to });
      } catch (error) {
        if (!(error instanceof FailureError)) throw error;
      }
    },
    stopReading() {
      network.fate = ({ to }) => (to === self ? "hold" : "deliver");
    },
  };
}
