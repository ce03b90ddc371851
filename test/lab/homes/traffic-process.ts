/** A computer at an emulated home, or the server, for tests: does what its parent asks for, one request at a time. */
import { createHash } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { serverAddress } from "./emulated-homes.ts";

export interface TrafficCalls {
  /** Takes datagrams, answers single bytes, and takes and gives streams. */
  serve(): void;
  /** Numbers of the datagrams that have come, in order. */
  arrived(): readonly number[];
  sendDatagrams(numbers: readonly number[]): void;
  /** The shortest of so many. */
  roundTripMs(count: number): number;
  upload(bytes: number): StreamFigures;
  download(bytes: number): StreamFigures;
}

export interface StreamFigures {
  /** Of what arrived, and of what was sent. */
  readonly sha256: string;
  readonly sentSha256: string;
  /**
   * Of the second half, when TCP has found out what the line takes: the median over pieces of it, so that a moment in which TCP recovers
   * from a loss, or this computer does something else, is not taken for the line's speed.
   */
  readonly bitsPerSecond: number;
}

export interface TrafficRequest {
  readonly call: keyof TrafficCalls;
  readonly argument: unknown;
}

const ports = { echo: 5001, sink: 5002, source: 5003, datagrams: 5004 } as const;
const datagramBytes = 100;
const arrived: number[] = [];

const calls: { readonly [Call in keyof TrafficCalls]: (argument: never) => Promise<ReturnType<TrafficCalls[Call]>> } = {
  async serve() {
    await listen(ports.echo, (socket) => socket.pipe(socket));
    await listen(ports.sink, async (socket) => socket.end(JSON.stringify(await received(socket))));
    await listen(ports.source, async (socket) => {
      const [request] = (await once(socket, "data")) as [Buffer];
      socket.end(contents(Number(request.toString())));
    });
    const datagrams = createSocket("udp4").on("message", (datagram) => arrived.push(datagram.readUInt32LE()));
    datagrams.bind(ports.datagrams);
    await once(datagrams, "listening");
  },

  arrived: async () => arrived,

  async sendDatagrams(numbers: readonly number[]) {
    const socket = createSocket("udp4");
    for (const number of numbers) {
      const datagram = Buffer.alloc(datagramBytes);
      datagram.writeUInt32LE(number);
      await new Promise((resolve) => socket.send(datagram, ports.datagrams, serverAddress, resolve));
    }
    socket.close();
  },

  async roundTripMs(count: number) {
    const socket = await connected(ports.echo);
    let shortestMs = Number.POSITIVE_INFINITY;
    for (let turn = 0; turn < count; turn++) {
      const beganAtMs = performance.now();
      socket.write("?");
      await once(socket, "data");
      shortestMs = Math.min(shortestMs, performance.now() - beganAtMs);
    }
    socket.destroy();
    return shortestMs;
  },

  async upload(bytes: number) {
    const socket = await connected(ports.sink);
    const sent = contents(bytes);
    socket.end(sent);
    const answer: Buffer[] = [];
    for await (const piece of socket) answer.push(piece);
    return { ...JSON.parse(Buffer.concat(answer).toString()), sentSha256: sha256(sent) };
  },

  async download(bytes: number) {
    const socket = await connected(ports.source);
    socket.write(String(bytes));
    return { ...(await received(socket)), sentSha256: sha256(contents(bytes)) };
  },
};

process.on("message", async ({ call, argument }: TrafficRequest) => {
  process.send?.({ result: await calls[call](argument as never) });
});
process.once("disconnect", () => process.exit(0));

async function received(socket: Socket): Promise<Omit<StreamFigures, "sentSha256">> {
  const pieces: Buffer[] = [];
  const marks: Mark[] = [];
  let bytes = 0;
  for await (const piece of socket.iterator({ destroyOnReturn: false })) {
    pieces.push(piece);
    bytes += piece.length;
    marks.push({ bytes, atMs: performance.now() });
  }
  return {
    sha256: sha256(Buffer.concat(pieces)),
    bitsPerSecond: usualRate(marks.filter((mark) => mark.bytes >= bytes / 2)),
  };
}

interface Mark {
  /** That had come by then. */
  readonly bytes: number;
  readonly atMs: number;
}

/** Between any mark and the one a quarter of them later. */
function usualRate(marks: readonly Mark[]): number {
  const quarter = Math.max(1, Math.floor(marks.length / 4));
  const rates = marks.slice(quarter).map(({ bytes, atMs }, index) => {
    const before = marks[index];
    return before === undefined ? 0 : (8000 * (bytes - before.bytes)) / (atMs - before.atMs);
  });
  return rates.toSorted((a, b) => a - b)[Math.floor(rates.length / 2)] ?? Number.NaN;
}

/** No two segments are alike. */
function contents(bytes: number): Buffer {
  const words = Uint32Array.from({ length: bytes / 4 }, (_, index) => Math.imul(index, 2654435761));
  return Buffer.from(words.buffer);
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

async function listen(port: number, handle: (socket: Socket) => void): Promise<void> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.setNoDelay();
    handle(socket);
  });
  server.listen(port, serverAddress);
  await once(server, "listening");
}

async function connected(port: number): Promise<Socket> {
  const socket = connect({ port, host: serverAddress, noDelay: true, allowHalfOpen: true });
  await once(socket, "connect");
  return socket;
}
