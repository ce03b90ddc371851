import { once } from "node:events";
import { Agent, createServer, IncomingMessage, request } from "node:http";
import { type AddressInfo, Socket } from "node:net";
import { afterEach, expect, it, vi } from "vitest";
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

it.each([
  ["lets more gather after what came slowly", 1, 1 << 20, 1],
  ["does not wait for more than was announced", 1, 1, 0],
  ["reads on at once where much comes at a time", 64 << 20, 128 << 20, 0],
])("%s", async (_what, bytes, announcedBytes, rests) => {
  const socket = new Socket();
  const upload = new IncomingMessage(socket);
  upload.headers["content-length"] = String(announcedBytes);
  upload.push(Buffer.alloc(bytes));
  upload.push(null);
  const pause = vi.spyOn(socket, "pause").mockReturnValue(socket);
  const resume = vi.spyOn(socket, "resume").mockReturnValue(socket);
  for await (const chunk of gatheredBody(upload)) {
    expect(chunk).toHaveLength(bytes);
    resume.mockClear(); // a stream that is read resumes its socket by itself
  }
  expect(pause).toHaveBeenCalledTimes(rests);
  if (rests > 0) expect(resume).toHaveBeenCalled();
});
