/**
 * A WebSocket that counts what is on the line, and not only what waits in this process: the system takes hundreds of kilobytes into its
 * own buffers, where nothing urgent overtakes them. Pings between the data say, when they come back, what has arrived by then, so that
 * the link above can keep to what the line holds.
 */
import type { FrameSocket } from "./frame-link.ts";

/** The part of a WebSocket of `ws` that is needed. */
export interface PingedSocket {
  readonly bufferedAmount: number;
  send(bytes: Uint8Array, done: (error?: Error) => void): void;
  ping(payload: Uint8Array): void;
}

interface UnderWay {
  /** Bytes handed over until then, with this. */
  readonly upTo: number;
  readonly done: (error?: Error) => void;
}

/** A ping and its answer take about 120 bytes of the line. */
const leastBytesBetweenPings = 16 << 10;
/** So many in what may be on the line. */
const pingsUnderWay = 8;
export const acknowledgementBytes = 8;

export class AcknowledgedSocket implements FrameSocket {
  readonly #socket: PingedSocket;
  readonly #lineBytes: () => number | null;
  readonly #underWay: UnderWay[] = [];
  #handedBytes = 0;
  #pingedBytes = 0;
  #arrivedBytes = 0;

  /** `lineBytes`: that may be on the line; null: it is not known or does not matter, and only what waits here counts. */
  constructor(socket: PingedSocket, lineBytes: () => number | null) {
    this.#socket = socket;
    this.#lineBytes = lineBytes;
  }

  get bufferedAmount(): number {
    const { bufferedAmount } = this.#socket;
    return this.#lineBytes() === null
      ? bufferedAmount
      : Math.max(bufferedAmount, this.#handedBytes - this.#arrivedBytes);
  }

  /** `done` is called when the bytes no longer count. */
  send(bytes: Uint8Array, done: (error?: Error) => void): void {
    this.#handedBytes += bytes.length;
    const upTo = this.#handedBytes;
    this.#underWay.push({ upTo, done });
    const lineBytes = this.#lineBytes();
    this.#socket.send(bytes, (error) => {
      if (error) done(error);
      else if (lineBytes === null) this.#settle(upTo);
    });
    if (lineBytes !== null) this.#ping(lineBytes);
  }

  /** The answer to a ping of `acknowledgementBytes` bytes. What it says beyond what was asked is not believed. */
  returned(payload: Buffer): void {
    const arrivedBytes = Number(payload.readBigUInt64LE());
    if (arrivedBytes <= this.#arrivedBytes || arrivedBytes > this.#pingedBytes) return;
    this.#settle(arrivedBytes);
  }

  #ping(lineBytes: number): void {
    if (this.#handedBytes - this.#pingedBytes < Math.max(leastBytesBetweenPings, lineBytes / pingsUnderWay)) return;
    this.#pingedBytes = this.#handedBytes;
    const payload = Buffer.alloc(acknowledgementBytes);
    payload.writeBigUInt64LE(BigInt(this.#pingedBytes));
    this.#socket.ping(payload);
  }

  #settle(upTo: number): void {
    this.#arrivedBytes = Math.max(this.#arrivedBytes, upTo);
    while (this.#underWay[0] !== undefined && this.#underWay[0].upTo <= upTo) this.#underWay.shift()?.done();
  }
}
