import { afterEach, expect, it } from "vitest";
import { failureOf } from "../../protocol/failure.ts";
import { createIdentity, type Identity } from "../../protocol/identity.ts";
import type { MinerId } from "../../protocol/ids.ts";
import { BootstrapNodes } from "./bootstrap-nodes.ts";
import { DirectNode } from "./direct-node.ts";

const host = "127.0.0.1";
const opened: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
});

async function openNodes(identities: readonly Identity[]): Promise<readonly DirectNode[]> {
  const { addresses: bootstrap } = await opening(
    BootstrapNodes.open({ listenHost: host, publicHost: host, firstPort: 0 }),
  );
  return identities.map((identity) => {
    const node = new DirectNode({ identity, bootstrap, log: () => {} });
    opened.push(node);
    return node;
  });
}

async function opening<T extends { close(): unknown }>(promise: Promise<T>): Promise<T> {
  const one = await promise;
  opened.push(one);
  return one;
}

/** Until the peer has announced itself, it is not found. */
async function dialUntilFound(node: DirectNode, peer: MinerId) {
  for (;;) {
    try {
      return await node.dial(peer, AbortSignal.timeout(3000));
    } catch (error) {
      if (failureOf(error)?.code !== "unreachable") throw error;
    }
  }
}

it("a node is reached by those that it was told of, under the miner's own key, and by nobody else", async () => {
  const [host, guest, stranger] = [createIdentity(), createIdentity(), createIdentity()];
  const [hostNode, guestNode, strangerNode] = await openNodes([host, guest, stranger]);
  if (hostNode === undefined || guestNode === undefined || strangerNode === undefined) throw new Error("three nodes");
  const arrivals: MinerId[] = [];
  hostNode.onStream(({ peer }) => arrivals.push(peer));
  hostNode.admit(new Set([guest.minerId]));

  const connection = await dialUntilFound(guestNode, host.minerId);
  expect(connection.peer).toBe(host.minerId);
  await expect(strangerNode.dial(host.minerId, AbortSignal.timeout(2000))).rejects.toSatisfy(
    (error) => failureOf(error)?.code === "unreachable",
  );
  expect(new Set(arrivals)).toEqual(new Set([guest.minerId]));
});

it("a peer that is not there is not waited for beyond the deadline", async () => {
  const [node] = await openNodes([createIdentity()]);
  const dialing = node?.dial(createIdentity().minerId, AbortSignal.timeout(3000));
  await expect(dialing).rejects.toSatisfy((error) => failureOf(error)?.code === "unreachable");
});
