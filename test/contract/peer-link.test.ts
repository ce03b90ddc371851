import { MemoryNetwork } from "../../src/transport/memory-link.ts";
import { describePeerLink } from "./peer-link.ts";
import { openDirectNetwork } from "./peer-link-direct.ts";
import { openGatewayNetwork } from "./peer-link-gateway.ts";

describePeerLink("in memory", async () => {
  const network = new MemoryNetwork();
  return {
    connect: async ({ minerId }) => network.link(minerId),
    lose: async ({ minerId }) => network.remove(minerId),
    close: async () => undefined,
  };
});

describePeerLink("relayed by a gateway", openGatewayNetwork);

describePeerLink("over direct connections", openDirectNetwork);
