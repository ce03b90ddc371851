/**
 * All that this miner sends and receives for one network, over its session and over HTTP: counted at the sockets, and held within what
 * its owner allows. Whoever writes or reads tells it, since a socket knows its bytes but not its packets.
 */
import { type FrameBytes, type MessageKind, maxChunkBytes, noFrameBytes } from "../../protocol/frames.ts";
import type { LinkReport } from "../../protocol/link-report.ts";
import { BackgroundPace } from "./background-pace.ts";
import { type BudgetClock, ByteBudget } from "./byte-budget.ts";
import { LinkMeter } from "./link-meter.ts";
import { headerBytesOf, type PacketCount, packetsOfRead, packetsOfUpload, packetsOfWrite } from "./wire-bytes.ts";

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

/** Of one direction: what was in the packets, and what they and their acknowledgements took besides. */
interface Direction {
  bytes: number;
  along: number;
  against: number;
}

export class Traffic {
  readonly upload: ByteBudget;
  readonly download: ByteBudget;
  readonly link: LinkMeter;
  readonly #background: BackgroundPace;
  readonly #sent: Direction = { bytes: 0, along: 0, against: 0 };
  readonly #received: Direction = { bytes: 0, along: 0, against: 0 };
  #sentFrames = noFrameBytes;
  /** What has been counted of each open socket. */
  readonly #counted = new Map<CountedSocket, { sent: number; received: number }>();

  constructor(clock: BudgetClock) {
    this.upload = new ByteBudget(clock);
    this.download = new ByteBudget(clock);
    this.link = new LinkMeter(clock);
    this.#background = new BackgroundPace(clock, this.link);
  }

  /**
   * From now on frames may pass; `sendMark` sends a mark behind them, if one is due. Null: they pass over no link that is worth sharing
   * with care.
   */
  sessionOpened(sendMark: (() => void) | null): void {
    this.link.connected();
    if (sendMark !== null) this.#background.sessionOpened(sendMark);
  }

  sessionClosed(): void {
    this.#background.sessionClosed();
  }

  /** A mark came back over the session. */
  markReturned(number: number): void {
    const roundTripMs = this.link.returned(number);
    if (roundTripMs !== null) this.#background.measured(roundTripMs);
  }

  /** Resolves when it is the caller's turn to send something that is not urgent. */
  async backgroundTurn(): Promise<void> {
    await this.#background.turn();
    await this.upload.turn("background");
  }

  /** As `wrote`, after a `backgroundTurn`. */
  wroteInBackground(bytes: number): void {
    this.#wrote(bytes, packetsOfUpload(bytes));
    this.#background.spend(bytes);
  }

  /** Frames have to wait until there is room on the line. */
  framesWait(): void {
    this.#background.framesWait();
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
      sentBytes: Math.round(this.#sent.bytes + this.#sent.along + this.#received.against),
      receivedBytes: Math.round(this.#received.bytes + this.#received.along + this.#sent.against),
    };
  }

  /** To other miners, whatever way, since this object was made. */
  get sentFrames(): FrameBytes {
    return this.#sentFrames;
  }

  wroteFrame(kind: MessageKind, bytes: number): void {
    this.#sentFrames = { ...this.#sentFrames, [kind]: this.#sentFrames[kind] + bytes };
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
    this.#wrote(bytes, packetsOfWrite(bytes));
  }

  /** So much arrived at a watched socket at once. */
  read(bytes: number): void {
    const { along, against } = add(this.#received, packetsOfRead(bytes));
    this.download.spend(bytes + along);
    this.upload.spend(against);
  }

  /** What the link can do, within what it may. */
  get linkEstimate(): LinkReport {
    const { upBytesPerSecond, downBytesPerSecond, roundTripMs } = this.link.estimate;
    return {
      upBytesPerSecond: least(upBytesPerSecond, this.upload.bytesPerSecond),
      downBytesPerSecond: least(downBytesPerSecond, this.download.bytesPerSecond),
      roundTripMs,
    };
  }

  /** How much to send in one piece. */
  get chunkBytes(): number {
    return chunkBytesAt(this.upload.bytesPerSecond);
  }

  /** Likewise of what is not urgent. */
  get backgroundChunkBytes(): number {
    return Math.min(this.chunkBytes, chunkBytesAt(this.#background.bytesPerSecond));
  }

  get maxBufferedBytes(): number {
    return chunksBuffered * this.chunkBytes;
  }

  #wrote(bytes: number, packets: PacketCount): void {
    const { along, against } = add(this.#sent, packets);
    this.upload.spend(bytes + along);
    this.download.spend(against);
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

/** Of a link of that rate; null: nothing says how fast it is. */
export function chunkBytesAt(bytesPerSecond: number | null): number {
  if (bytesPerSecond === null) return unknownChunkBytes;
  return Math.round(Math.min(maxChunkBytes, Math.max(leastChunkBytes, (bytesPerSecond * chunkMs) / 1000)));
}

function add(direction: Direction, packets: PacketCount): ReturnType<typeof headerBytesOf> {
  const { along, against } = headerBytesOf(packets);
  direction.along += along;
  direction.against += against;
  return { along, against };
}

function least(a: number | null, b: number | null): number | null {
  return a === null || b === null ? (a ?? b) : Math.min(a, b);
}
