/**
 * When a client is read from, and when it has to wait: while those to whom it sends do not keep up, and while it sends more than it may.
 * Nothing is lost by that; what it sends fills its own buffers.
 */
import type { Socket } from "node:net";
import type { WebSocket } from "ws";
import type { MinerId } from "../../protocol/ids.ts";
import { maxClientMessageBytes } from "../../protocol/messages.ts";
import { RateLimit } from "../rate-limit.ts";
import type { Household } from "./address-limits.ts";

/** A client's connection, and what it shares with others of its address. */
export interface SessionConnection {
  readonly socket: WebSocket;
  /** Under the socket. */
  readonly line: Socket;
  readonly household: Household;
}

export interface ReadingOptions extends SessionConnection {
  /** Frames and pings on average; more wait. */
  readonly framesPerSecond: number;
  readonly clock: () => number;
  /** Whether the client never had a place in an epoch. */
  readonly isGuest: () => boolean;
  /** A guest sends a message that is longer than any that it may send. */
  readonly tooLong: () => void;
  /** It is read from again. */
  readonly resumed: () => void;
}

/** At once, in seconds of what is allowed: what a step exchanges comes in one go. */
const frameBurstSeconds = 4;
/** Of a message that is not complete, from a guest: all that those may say is shorter by far. */
const guestMessageBytes = 4 * maxClientMessageBytes;
/** Then its address may owe less again, or its place may have come. */
const longestRestMs = 15_000;

export class Reading {
  readonly #options: ReadingOptions;
  readonly #frames: RateLimit;
  /** Slow receivers that this client's frames wait for. */
  readonly #heldFor = new Set<MinerId>();
  #restTimer: NodeJS.Timeout | undefined;
  /** Of the message that is not complete: what has come, less what is complete. */
  #unfinishedBytes = 0;

  constructor(options: ReadingOptions) {
    const { socket, line, framesPerSecond, clock } = options;
    this.#options = options;
    this.#frames = new RateLimit(framesPerSecond, frameBurstSeconds * framesPerSecond, clock);
    line.on("data", ({ length }: Buffer) => this.#read(length));
    // A message is complete before the bytes that completed it are counted: all that came before them were its own. Of one in several
    // frames, the heads of these are not known.
    socket.on("message", ({ length }: Buffer) => {
      this.#unfinishedBytes = Math.min(0, this.#unfinishedBytes - frameBytes(length));
    });
    for (const event of ["ping", "pong"] as const)
      socket.on(event, ({ length }: Buffer) => {
        this.#unfinishedBytes -= frameBytes(length);
      });
    socket.on("ping", () => this.countFrame());
    socket.on("close", () => clearTimeout(this.#restTimer));
  }

  get isPaused(): boolean {
    return this.#heldFor.size > 0 || this.#restTimer !== undefined;
  }

  /** While frames to `receiver` cannot leave. */
  hold(receiver: MinerId): void {
    this.#heldFor.add(receiver);
    this.#options.socket.pause();
  }

  release(receiver: MinerId): void {
    if (this.#heldFor.delete(receiver)) this.#readOn();
  }

  countFrame(): void {
    this.#restFor(this.#frames.spend(1));
  }

  /** What guests send is limited for all of an address together; what members send meets the limits of those who receive it. */
  #read(bytes: number): void {
    const { isGuest, household, tooLong } = this.#options;
    if (!isGuest()) return;
    this.#unfinishedBytes += bytes;
    this.#restFor(household.sent.spend(bytes));
    if (this.#unfinishedBytes > guestMessageBytes) tooLong();
  }

  #restFor(waitMs: number): void {
    const { socket } = this.#options;
    if (waitMs === 0 || this.#restTimer !== undefined || socket.readyState !== socket.OPEN) return;
    socket.pause();
    const rested = () => {
      this.#restTimer = undefined;
      this.#readOn();
    };
    this.#restTimer = setTimeout(rested, Math.min(waitMs, longestRestMs));
  }

  #readOn(): void {
    if (this.isPaused) return;
    this.#options.resumed();
    this.#options.socket.resume();
  }
}

/** Of a client's frame with so long a payload (RFC 6455, 5.2). */
function frameBytes(payloadBytes: number): number {
  const lengthBytes = payloadBytes < 126 ? 0 : payloadBytes < 1 << 16 ? 2 : 8;
  return 6 + lengthBytes + payloadBytes;
}
