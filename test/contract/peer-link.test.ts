import { MemoryNetwork } from "../../src/transport/memory-link.ts";
import { describePeerLink } from "./peer-link.ts";
import { openFakeGateway } from "./peer-link-fake-gateway.ts";

describePeerLink("in memory", async () => {
  const network = new MemoryNetwork();
  return {
    connect: async (self) => network.link(self),
    lose: async (peer) => network.remove(peer),
    close: async () => undefined,
  };
});

describePeerLink("relayed by a gateway", openFakeGateway);
