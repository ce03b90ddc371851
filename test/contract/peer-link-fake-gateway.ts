/** A gateway that does nothing but pass frames on, so that the relay link is tested by itself. */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { WebSocket, WebSocketServer } from "ws";
import { decodeFrame, isFrame, readdressFrame } from "../../src/protocol/frames.ts";
import { type MinerId, minerIdSchema } from "../../src/protocol/ids.ts";
import { decodeGatewayMessage, encodeMessage } from "../../src/protocol/messages.ts";
import { RelayLink } from "../../src/transport/relay-link.ts";
import type { PeerLinkNetwork } from "./peer-link.ts";

export async function openFakeGateway(): Promise<PeerLinkNetwork> {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false });
  await once(server, "listening");
  const members = new Map<MinerId, WebSocket>();
  server.on("connection", (socket, request) => {
    const self = minerIdSchema.parse(request.url?.slice(1));
    members.set(self, socket);
    socket.on("close", () => {
      if (members.get(self) === socket) members.delete(self);
    });
    socket.on("message", (data: Buffer) => {
      const { peer } = decodeFrame(data);
      const target = members.get(peer);
      if (target === undefined) {
        socket.send(encodeMessage({ type: "undeliverable", peer }));
        return;
      }
      readdressFrame(data, self);
      target.send(data);
    });
  });
  const clients = new Map<MinerId, WebSocket>();
  return {
    async connect(self) {
      const socket = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}/${self}`, {
        perMessageDeflate: false,
      });
      clients.set(self, socket);
      const link = new RelayLink(socket, {
        onDropped: (from, failure) => {
          throw new Error(`a message of ${from} was dropped`, { cause: failure });
        },
      });
      socket.on("message", (data: Buffer) => {
        if (isFrame(data)) link.receive(data);
        else {
          const message = decodeGatewayMessage(data);
          if (message.type === "undeliverable") link.peerUndeliverable(message.peer);
        }
      });
      await once(socket, "open");
      return link;
    },
    async lose(peer) {
      const gone = members.get(peer);
      clients.get(peer)?.terminate();
      if (gone !== undefined && gone.readyState !== WebSocket.CLOSED) await once(gone, "close");
    },
    async close() {
      for (const socket of clients.values()) socket.terminate();
      server.close();
      await once(server, "close");
    },
  };
}
