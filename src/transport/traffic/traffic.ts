/**
 * All that this miner sends and receives for one network, over its session and over HTTP: counted at the sockets, and held within what
 * its owner allows. Whoever writes or reads tells it, since a socket knows its bytes but not its packets.
 */
import { maxChunkBytes } from "../../protocol/frames.ts";
import { type BudgetClock, ByteBudget } from "./byte-budget.ts";
import { type LinkEstimate, LinkMeter } from "./link-meter.ts";
import { acknowledgementBytesOf, segmentsOf, wireBytes, wireBytesOf } from "./wire-bytes.ts";

/** The part of a socket that is counted; `node:net` has it. */
export interface CountedSocket {
  readonly bytesRead: number;
  /** With those that wait. */
  readonly bytesWritten: number;
  /** Those that wait. */
  readonly writableLength: number;
  once(event: "close", listener: () => void): unknown;
}

/** Bytes on the wire. */
export interface TrafficTotals {
  readonly sentBytes: number;
  readonly receivedBytes: number;
}

/** Null: without limit. */
export interface TrafficLimits {
  readonly upload: number | null;
  readonly download: number | null;
}

/** What is sent in one piece holds up what is more urgent for no longer than this. */
const chunkMs = 25;
const leastChunkBytes = 16 << 10;
/** While nothing says how fast the link is. */
const unknownChunkBytes = 256 << 10;
/** What waits in the socket: enough to keep it busy. */
const chunksBuffered = 4;

interface Direction {
  bytes: number;
  segments: number;
}

export class Traffic {
  readonly upload: ByteBudget;
  readonly download: ByteBudget;
  readonly link: LinkMeter;
  readonly #sent: Direction = { bytes: 0, segments: 0 };
  readonly #received: Direction = { bytes: 0, segments: 0 };
  /** What has been counted of each open socket. */
  readonly #counted = new Map<CountedSocket, { sent: number; received: number }>();

  constructor(clock: BudgetClock) {
    this.upload = new ByteBudget(clock);
    this.download = new ByteBudget(clock);
    this.link = new LinkMeter(clock);
  }

  /** Bytes per second. */
  get limits(): TrafficLimits {
    return { upload: this.upload.bytesPerSecond, download: this.download.bytesPerSecond };
  }

  limit({ upload, download }: TrafficLimits): void {
    this.upload.setRate(upload);
    this.download.setRate(download);
  }

  /** Since this object was made. */
  get totals(): TrafficTotals {
    for (const socket of this.#counted.keys()) this.#count(socket);
    return {
      sentBytes: wireBytes(this.#sent, this.#received),
      receivedBytes: wireBytes(this.#received, this.#sent),
    };
  }

  /** Counts a socket until it closes; one that is watched already is not counted twice. */
  watch(socket: CountedSocket): void {
    if (this.#counted.has(socket)) return;
    this.#counted.set(socket, { sent: 0, received: 0 });
    socket.once("close", () => {
      this.#count(socket);
      this.#counted.delete(socket);
    });
  }

  /** So much was written to a watched socket at once. */
  wrote(bytes: number): void {
    this.#sent.segments += segmentsOf(bytes);
    this.upload.spend(wireBytesOf(bytes));
    this.download.spend(acknowledgementBytesOf(bytes));
  }

  /** So much arrived at a watched socket at once. */
  read(bytes: number): void {
    this.#received.segments += segmentsOf(bytes);
    this.link.arrived(bytes);
    this.download.spend(wireBytesOf(bytes));
    this.upload.spend(acknowledgementBytesOf(bytes));
  }

  /** What the link can do, within what it may. */
  get linkEstimate(): LinkEstimate {
    const { upBytesPerSecond, downBytesPerSecond, roundTripMs } = this.link.estimate;
    return {
      upBytesPerSecond: least(upBytesPerSecond, this.upload.bytesPerSecond),
      downBytesPerSecond: least(downBytesPerSecond, this.download.bytesPerSecond),
      roundTripMs,
    };
  }

  /** How much to send in one piece. */
  get chunkBytes(): number {
    const rate = this.upload.bytesPerSecond;
    if (rate === null) return unknownChunkBytes;
    return Math.round(Math.min(maxChunkBytes, Math.max(leastChunkBytes, (rate * chunkMs) / 1000)));
  }

  get maxBufferedBytes(): number {
    return chunksBuffered * this.chunkBytes;
  }

  #count(socket: CountedSocket): void {
    const counted = this.#counted.get(socket);
    if (counted === undefined) return;
    const sent = socket.bytesWritten - socket.writableLength;
    const received = socket.bytesRead;
    this.#sent.bytes += sent - counted.sent;
    this.#received.bytes += received - counted.received;
    this.#counted.set(socket, { sent, received });
  }
}

function least(a: number | null, b: number | null): number | null {
  return a === null || b === null ? (a ?? b) : Math.min(a, b);
}
