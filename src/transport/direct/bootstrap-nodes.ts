/** The network's part in direct connections: nodes that tell miners where others are and how their own routers treat them. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import HyperDHT, { type DhtAddress } from "hyperdht";
import { FailureError } from "../../protocol/failure.ts";

/** A miner calls its router consistent after three answers that agree, and asks four (`nat.js` of hyperdht). */
const nodesNeeded = 4;
const lastPort = 65_535;

export interface BootstrapOptions {
  /** The interface to listen on. */
  readonly listenHost: string;
  /** The IPv4 address at which miners reach it: a node is known by its address. */
  readonly publicHost: string;
  /** Of the first one; the others take the next ones. 0: any free ones. */
  readonly firstPort: number;
  /** Takes any free port for one that is in use. */
  readonly orAnyPort?: boolean;
}

export class BootstrapNodes {
  readonly addresses: readonly DhtAddress[];
  readonly #nodes: readonly HyperDHT[];

  private constructor(addresses: readonly DhtAddress[], nodes: readonly HyperDHT[]) {
    this.addresses = addresses;
    this.#nodes = nodes;
  }

  /** Rejects with `FailureError`: port-in-use, invalid-option when the host cannot be listened on. */
  static async open({ listenHost, publicHost, firstPort, orAnyPort }: BootstrapOptions): Promise<BootstrapNodes> {
    const addresses: DhtAddress[] = [];
    const nodes: HyperDHT[] = [];
    try {
      for (let index = 0; index < nodesNeeded; index++) {
        const asked = firstPort === 0 ? 0 : firstPort + index;
        const port = (await freePort(listenHost, asked)) ?? (orAnyPort ? await freePort(listenHost, 0) : null);
        if (port === null)
          throw new FailureError("port-in-use", `UDP port ${asked} of ${listenHost} is in use by another program.`, {
            action: "Choose others with --direct-port, or serve with --direct off.",
          });
        // Without others: they need not know each other, since every miner knows all of them.
        const node = HyperDHT.bootstrapper(port, publicHost, { host: listenHost, bootstrap: [] });
        nodes.push(node);
        addresses.push({ host: publicHost, port });
        await node.fullyBootstrapped();
      }
    } catch (error) {
      await destroy(nodes);
      throw error;
    }
    return new BootstrapNodes(addresses, nodes);
  }

  close(): Promise<void> {
    return destroy(this.#nodes);
  }
}

async function destroy(nodes: readonly HyperDHT[]): Promise<void> {
  await Promise.all(nodes.map((node) => node.destroy({ force: true })));
}

/**
 * Null: it is in use, or there is none of this number. Tried beforehand, since hyperdht takes another one then, or none. Rejects with
 * `FailureError` (invalid-option) when the host cannot be listened on.
 */
async function freePort(host: string, asked: number): Promise<number | null> {
  if (asked > lastPort) return null;
  const socket = createSocket("udp4");
  try {
    socket.bind(asked, host);
    await once(socket, "listening");
    return socket.address().port;
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "EADDRINUSE") return null;
    throw new FailureError("invalid-option", `Cannot listen on UDP port ${asked} of ${host}.`, {
      action: "Choose another --host, or serve with --direct off.",
      cause,
    });
  } finally {
    socket.close();
  }
}
