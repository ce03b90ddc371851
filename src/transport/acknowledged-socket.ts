/**
 * A WebSocket that counts what is under way on its line, and not only what waits in this process: the system takes hundreds of
 * kilobytes into its own buffers, where nothing urgent overtakes them. Pings between the data say, when they come back, what has
 * arrived by then.
 */
import { decodeAnswer, encodeQuestion } from "./acknowledgement.ts";
import type { FrameSocket } from "./frame-link.ts";
import type { BudgetClock } from "./traffic/byte-budget.ts";
import type { LineWindow } from "./traffic/line-window.ts";

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
/**
 * What is less is asked about after a while, so that small messages share a ping: each costs a computer three wake-ups, and what nothing
 * was asked about is too little to fill the line (`chunkBytes`).
 */
const askAfterMs = 200;
/** So many in what may be under way. */
const pingsUnderWay = 4;
/** A line that answers no pings, as behind some proxies, is taken at the system's word after so long. */
const patienceMs = 5000;

export class AcknowledgedSocket implements FrameSocket {
  readonly #socket: PingedSocket;
  readonly #window: LineWindow;
  readonly #clock: Pick<BudgetClock, "after">;
  readonly #underWay: UnderWay[] = [];
  #handedBytes = 0;
  /** Of these, what no ping is behind yet. */
  #unaskedBytes = 0;
  #cancelPing: (() => void) | null = null;
  #cancelWatch: (() => void) | null = null;

  constructor(socket: PingedSocket, window: LineWindow, clock: Pick<BudgetClock, "after">) {
    this.#socket = socket;
    this.#window = window;
    this.#clock = clock;
  }

  /** Beyond these it is better to wait. */
  get maxBufferedBytes(): number {
    return this.#window.bytes;
  }

  /** Bytes between pings, and a good size for chunks. */
  get chunkBytes(): number {
    return Math.max(leastBytesBetweenPings, Math.floor(this.#window.bytes / pingsUnderWay));
  }

  get bufferedAmount(): number {
    return this.#handedBytes - this.#window.arrivedBytes;
  }

  /** `done` is called when the bytes have arrived, or with the error that kept them. */
  send(bytes: Uint8Array, done: (error?: Error) => void): void {
    this.#handedBytes += bytes.length;
    this.#underWay.push({ upTo: this.#handedBytes, done });
    this.#socket.send(bytes, (error) => {
      if (error) done(error);
    });
    this.#unaskedBytes += bytes.length;
    if (this.#unaskedBytes >= this.chunkBytes) this.#ping();
    else this.#cancelPing ??= this.#clock.after(askAfterMs, () => this.#ping());
  }

  /** What came back of a ping; anything else is let pass. */
  returned(payload: Buffer): void {
    const answer = decodeAnswer(payload);
    if (answer !== null && this.#window.arrived(answer)) this.#settle(answer.handedBytes);
  }

  /** Nothing comes back any more. */
  close(): void {
    this.#cancelPing?.();
    this.#cancelWatch?.();
  }

  #settle(upTo: number): void {
    this.#cancelWatch?.();
    this.#cancelWatch = null;
    if (this.bufferedAmount > this.#unaskedBytes) this.#watch();
    while (this.#underWay[0] !== undefined && this.#underWay[0].upTo <= upTo) this.#underWay.shift()?.done();
  }

  #watch(): void {
    this.#cancelWatch ??= this.#clock.after(patienceMs, () => {
      this.#cancelWatch = null;
      const asked = this.#handedBytes - this.#unaskedBytes;
      if (this.#socket.bufferedAmount > 0) this.#watch();
      else {
        this.#window.presume(asked);
        this.#settle(asked);
      }
    });
  }

  #ping(): void {
    this.#cancelPing?.();
    this.#cancelPing = null;
    this.#unaskedBytes = 0;
    this.#window.mark(this.#handedBytes);
    this.#socket.ping(encodeQuestion(this.#handedBytes));
    this.#watch();
  }
}
