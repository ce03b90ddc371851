/** What can be done to the gateway without a session. */
import { connect, type Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import type { ClientMessage } from "../../../src/protocol/client-messages.ts";
import { createIdentity } from "../../../src/protocol/identity.ts";
import type { Attacker } from "./attacker.ts";
import { HostileClient, opcodes, webSocketFrame } from "./hostile-client.ts";

const floodConnections = 5000;
const perTurn = 50;
const turnMs = 20;
const halfRequest = "GET /session HTTP/1.1\r\nHost: 127.0.0.1\r\n";
const upgradeRequest = `${halfRequest}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`;

/** 5,000 at once, and another one for each that the gateway ends. */
export async function floodWithConnections(attacker: Attacker): Promise<void> {
  await holdOpen(attacker, floodConnections, (socket) => socket.write(halfRequest));
}

/** Half a request, half a handshake's answer, half a message: never more, and each as long as the gateway waits. */
export async function writeSlowly(attacker: Attacker): Promise<void> {
  const beginnings = ["", "G", halfRequest, upgradeRequest];
  const half = webSocketFrame(opcodes.binary, Buffer.alloc(60_000), 1 << 20);
  await holdOpen(attacker, 400, (socket) => {
    const beginning = beginnings[attacker.attempts % beginnings.length] ?? "";
    socket.write(beginning);
    if (beginning === upgradeRequest) socket.once("data", () => socket.write(half));
  });
}

export async function forgeHellos(attacker: Attacker): Promise<void> {
  await attacker.inLanes(32, async () => {
    const client = await HostileClient.connect(attacker.target);
    attacker.attempts += 1;
    client.send(client.forgedHello());
    await client.closed;
  });
}

/** One that was overheard in another session. */
export async function replayHellos(attacker: Attacker): Promise<void> {
  const identity = createIdentity();
  let overheard: ClientMessage | null = null;
  await attacker.inLanes(16, async () => {
    const client = await HostileClient.connect(attacker.target);
    attacker.attempts += 1;
    if (overheard === null) {
      overheard = client.hello(identity);
      client.end();
    } else client.send(overheard);
    await client.closed;
  });
}

/** Pings before any hello, whose answers nobody reads. */
export async function floodWithPings(attacker: Attacker): Promise<void> {
  const pings = Buffer.concat(Array.from({ length: 500 }, () => webSocketFrame(opcodes.ping, Buffer.alloc(125))));
  await attacker.inLanes(32, async () => {
    const client = await HostileClient.connect(attacker.target);
    client.line.pause();
    while (client.isOpen) {
      attacker.attempts += 500;
      await client.write(pings);
    }
  });
}

/** Many requests over few connections, for what anyone may ask and for what nobody may. */
export async function floodWithRequests(attacker: Attacker): Promise<void> {
  const paths = ["/health", `/blobs/${attacker.target.blob}`, "/blobs/x", "/"];
  const requests = paths.map((path) => `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`);
  const batch = Buffer.from(Array.from({ length: 25 }, () => requests.join("")).join(""));
  await holdOpen(attacker, 64, (socket) => {
    socket.resume();
    const ask = () => {
      if (socket.destroyed) return;
      attacker.attempts += 100;
      if (socket.write(batch)) setImmediate(ask);
      else socket.once("drain", ask);
    };
    ask();
  });
}

/** Keeps so many connections, each of which begins as it is told. */
async function holdOpen(attacker: Attacker, connections: number, begin: (socket: Socket) => void): Promise<void> {
  const { port, localAddress } = attacker.target;
  const sockets = new Set<Socket>();
  for (;;) {
    for (let count = 0; count < perTurn && sockets.size < connections; count++) {
      const socket = connect({ port, host: "127.0.0.1", localAddress });
      sockets.add(socket);
      attacker.attempts += 1;
      socket.on("error", () => undefined); // `close` follows
      socket.on("close", () => sockets.delete(socket));
      begin(socket);
    }
    await pause(turnMs);
  }
}
