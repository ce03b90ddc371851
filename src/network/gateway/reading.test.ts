import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { afterEach, describe, expect, it, vi } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { maxClientMessageBytes } from "../../protocol/messages.ts";
import { AddressLimits, defaultAddressLimits } from "./address-limits.ts";
import { Reading } from "./reading.ts";

/** Of a message that is not complete, from a guest. */
const mostBytes = 4 * maxClientMessageBytes;

const ends: (() => void)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
});

/** A guest's connection, by which what it may send in what time is not limited. */
async function openGuest() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const webSockets = new WebSocketServer({ server });
  const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
  ends.push(() => {
    client.terminate();
    webSockets.close();
    server.close();
  });
  const [[socket, { socket: line }]] = (await Promise.all([
    once(webSockets, "connection"),
    once(client, "open"),
  ])) as unknown as [[WebSocket, { socket: Socket }], unknown];
  const limits = { ...defaultAddressLimits, guestBytesPerSecond: Number.MAX_SAFE_INTEGER };
  const household = new AddressLimits(limits, () => 0).householdAt("192.0.2.1");
  const messages: number[] = [];
  const tooLong = vi.fn();
  new Reading({
    socket,
    line,
    household,
    framesPerSecond: Number.MAX_SAFE_INTEGER,
    clock: () => 0,
    isGuest: () => true,
    tooLong,
    resumed: () => undefined,
  });
  socket.on("message", ({ length }: Buffer) => messages.push(length));
  return { client, messages, tooLong };
}

describe("what a guest has said of a message", () => {
  it("is none of what it has said before: one message as long as may be after the other, and pings between them", async () => {
    const { client, messages, tooLong } = await openGuest();
    for (let count = 0; count < 40; count++) {
      client.ping(Buffer.alloc(125));
      client.send(new Uint8Array(count % 2 === 0 ? mostBytes - 100 : 10));
    }
    await vi.waitUntil(() => messages.length === 40);
    expect(tooLong).not.toHaveBeenCalled();
  });

  it("is forgotten with the message, in however many frames it came", async () => {
    const { client, messages, tooLong } = await openGuest();
    for (let count = 0; count < 40; count++)
      for (const isLast of [false, false, true]) client.send(new Uint8Array(mostBytes / 4), { fin: isLast });
    await vi.waitUntil(() => messages.length === 40);
    expect(tooLong).not.toHaveBeenCalled();
  });

  it("is too much once it is more than any message that it may send, whatever came before", async () => {
    const { client, messages, tooLong } = await openGuest();
    client.send(new Uint8Array(mostBytes - 100));
    client.send(new Uint8Array(mostBytes + 1), { fin: false });
    await vi.waitUntil(() => tooLong.mock.calls.length > 0);
    expect(messages).toHaveLength(1);
  });
});
