import { createSocket } from "node:dgram";
import { once } from "node:events";
import { expect, it } from "vitest";
import { failureOf } from "../../protocol/failure.ts";
import { BootstrapNodes } from "./bootstrap-nodes.ts";

const host = "127.0.0.1";

it("bootstrap nodes say where they are, each at a port of its own", async () => {
  const nodes = await BootstrapNodes.open({ listenHost: host, publicHost: host, firstPort: 0 });
  const ports = nodes.addresses.map(({ port }) => port);
  await nodes.close();
  expect(new Set(ports).size).toBe(4);
  expect(ports.every((port) => port > 0)).toBe(true);
});

it("bootstrap nodes say which port is taken, or take another one", async () => {
  const other = createSocket("udp4");
  other.bind(0, host);
  await once(other, "listening");
  const firstPort = other.address().port;
  const opening = BootstrapNodes.open({ listenHost: host, publicHost: host, firstPort });
  await expect(opening).rejects.toSatisfy((error) => failureOf(error)?.message.includes(String(firstPort)) === true);
  const nodes = await BootstrapNodes.open({ listenHost: host, publicHost: host, firstPort, orAnyPort: true });
  expect(nodes.addresses.map(({ port }) => port)).not.toContain(firstPort);
  await nodes.close();
  other.close();
});
