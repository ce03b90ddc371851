import { once } from "node:events";
import { Agent, createServer, type IncomingMessage, request } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, it } from "vitest";
import { gatheredBody } from "./gathered-body.ts";

const closing: (() => unknown)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

/** Puts `packets` to a server that answers what `read` makes of them. */
async function serverOf(read: (body: AsyncIterable<Uint8Array>) => Promise<string>) {
  const server = createServer(async (incoming, response) => response.end(await read(gatheredBody(incoming))));
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  closing.push(() => server.close().closeAllConnections());
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  return async (packets: readonly string[], headers: Record<string, number> = {}): Promise<string> => {
    const outgoing = request({ port, agent, method: "PUT", headers });
    outgoing.setNoDelay();
    for (const packet of packets) await new Promise<void>((sent) => outgoing.write(packet, () => sent()));
    outgoing.end();
    const [incoming] = (await once(outgoing, "response")) as [IncomingMessage];
    return (await incoming.setEncoding("utf8").toArray()).join("");
  };
}

async function textOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(Uint8Array.from(chunk));
  return Buffer.concat(chunks).toString();
}

it("gives what came in small pieces whole and in order, announced or not, one upload after the other", async () => {
  const put = await serverOf(textOf);
  const packets = Array.from({ length: 50 }, (_, index) => `${index} `);
  const whole = packets.join("");
  expect(await put(packets)).toBe(whole);
  expect(await put(packets, { "content-length": whole.length })).toBe(whole);
});

it("leaves the connection to the answer where only a part is read", async () => {
  const put = await serverOf(async (body) => {
    for await (const chunk of body) return `enough after ${chunk.length > 0}`;
    return "nothing";
  });
  expect(await put(["a", "b"])).toBe("enough after true");
});
