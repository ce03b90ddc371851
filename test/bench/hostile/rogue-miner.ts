/**
 * A miner that does its work, and sends its peers garbage whenever its parent says so: `rogue-miner.ts OPTIONS`, with JSON options. It gets
 * at the connections of the honest program that it is otherwise.
 */
import { WebSocket } from "ws";
import { createMiner } from "../../../src/miner/create-miner.ts";
import { decodeFrame, encodeFrame, isFrame, type MessageKind } from "../../../src/protocol/frames.ts";
import { createIdentity } from "../../../src/protocol/identity.ts";
import type { MinerId } from "../../../src/protocol/ids.ts";
import { GrantedSocket } from "../../../src/transport/direct/granted-socket.ts";
import { rogueOptionsSchema } from "./attack-orders.ts";

const turnMs = 20;
const perTurn = 20;
const bitsPerMegabit = 1e6;
/** Kinds whose garbage does not end a message of its own work. */
const kinds: readonly MessageKind[] = ["answer", "merge", "blob-request", "exchange", "blob-part"];

const { networkUrl, stateFolder, maxUploadMbps, direct } = rogueOptionsSchema.parse(JSON.parse(process.argv[2] ?? ""));
const sendOverGateway = WebSocket.prototype.send;
const sendDirectly = GrantedSocket.prototype.send;
const peers = new Set<MinerId>();
const directSockets = new Set<GrantedSocket>();
let gateway: WebSocket | null = null;
let attempts = 0;
let timer: NodeJS.Timeout | undefined;

WebSocket.prototype.send = function send(this: WebSocket, ...args: Parameters<typeof sendOverGateway>) {
  const [data] = args;
  if (data instanceof Uint8Array && isFrame(data)) {
    gateway = this;
    peers.add(decodeFrame(data).peer);
  }
  sendOverGateway.apply(this, args);
} as typeof sendOverGateway;
GrantedSocket.prototype.send = function send(...args) {
  directSockets.add(this);
  sendDirectly.apply(this, args);
};

const miner = createMiner({
  identity: createIdentity(),
  name: "rogue",
  networkUrl,
  stateFolder,
  device: {
    platform: process.platform,
    cpu: "unknown",
    cores: 1,
    memoryBytes: 2 ** 30,
    memoryLimitBytes: 2 ** 30,
    maximumStages: 1,
    backend: "native",
    precision: "f32",
    adapter: null,
    blockTokensPerSecond: null,
  },
  threads: 1,
  limits: { upload: (maxUploadMbps * bitsPerMegabit) / 8, download: null },
  payoutAddress: null,
  hotkey: null,
  direct,
  log: () => undefined,
});
miner.setActive(true, "");
miner.open();

process.on("message", (order) => {
  clearInterval(timer);
  if (order === "start") timer = setInterval(annoy, turnMs);
  else {
    process.send?.({ attempts });
    attempts = 0;
  }
});
process.once("disconnect", () => void miner.close(0).then(() => process.exit(0)));

function annoy(): void {
  const peer = [...peers][attempts % Math.max(1, peers.size)];
  if (peer === undefined) return;
  for (let count = 0; count < perTurn; count++) {
    const bytes = garbage(peer);
    attempts += 1;
    if (!direct) {
      if (gateway?.readyState === WebSocket.OPEN) sendOverGateway.call(gateway, bytes, {});
    } else for (const socket of directSockets) sendDirectly.call(socket, bytes, () => undefined);
  }
}

/** Replays, ends without beginnings, beginnings without ends, and bodies that mean nothing. */
function garbage(peer: MinerId): Uint8Array {
  const kind = kinds[attempts % kinds.length] ?? "answer";
  const chunk = Buffer.alloc(200, attempts);
  const messageNumber = (attempts * 4096) % 2 ** 32;
  switch (attempts % 4) {
    case 0:
      return encodeFrame({ kind, peer, messageNumber, totalBytes: 1 << 20, offset: 400, chunk });
    case 1:
      return encodeFrame({ kind, peer, messageNumber, totalBytes: 1 << 28, offset: 0, chunk });
    case 2:
      return encodeFrame({ kind, peer, messageNumber: messageNumber - 1, totalBytes: 200, offset: 0, chunk });
    default:
      return encodeFrame({ kind, peer, messageNumber, totalBytes: 200, offset: 0, chunk });
  }
}
