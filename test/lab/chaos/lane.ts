/**
 * One direction of a WebSocket through the chaos proxy. Back-pressure passes through it: a slow receiver slows its sender. Only frames
 * meet the weather: control messages are signed in their order, and a missing one would end the session.
 */
import type { WebSocket } from "ws";
import type { Key } from "../../../src/compute/random.ts";
import { isFrame } from "../../../src/protocol/frames.ts";
import { fateOf, type Weather } from "./weather.ts";

export interface LaneOptions {
  readonly from: WebSocket;
  readonly to: WebSocket;
  /** Which messages meet which fate. */
  readonly key: Key;
  readonly weather: () => Weather;
  /** Sees every message, whatever becomes of it. */
  readonly onSent?: ((bytes: Uint8Array) => void) | undefined;
}

const highWaterBytes = 8 << 20;
const lowWaterBytes = 2 << 20;
/** A message that waits to be overtaken, and behind which nothing comes, goes on after so long. */
const longestOvertakingMs = 250;

export class Lane {
  readonly #options: LaneOptions;
  #messages = 0;
  #partitioned = false;
  #congested = false;
  /** What came to its time while the network was partitioned. */
  #stranded: Buffer[] = [];
  readonly #timers = new Set<NodeJS.Timeout>();
  #overtaken: (() => void) | null = null;

  constructor(options: LaneOptions) {
    this.#options = options;
    const { from, to } = options;
    from.on("message", (bytes: Buffer) => this.#receive(bytes));
    from.on("ping", (data) => to.readyState === to.OPEN && to.ping(data));
    from.on("pong", (data) => to.readyState === to.OPEN && to.pong(data));
    from.on("error", () => from.terminate());
    from.on("close", (code, reason) => this.#closed(code, reason));
  }

  /** Nothing passes while it is on, and neither end is told; afterwards what was on its way arrives. */
  partition(on: boolean): void {
    this.#partitioned = on;
    this.#pauseOrResume();
    if (!on) for (const bytes of this.#stranded.splice(0)) this.#send(bytes);
  }

  #receive(bytes: Buffer): void {
    const { key, weather, onSent } = this.#options;
    onSent?.(bytes);
    const index = this.#messages++;
    const conditions = weather();
    const fate = isFrame(bytes) ? fateOf(conditions, key, index) : "pass";
    if (fate === "delay") this.#later(conditions.delayMs, bytes);
    if (fate === "reorder") this.#letOvertake(bytes);
    if (fate === "pass" || fate === "duplicate") this.#send(bytes);
    if (fate === "duplicate") this.#send(bytes);
    if (fate !== "reorder") this.#overtaken?.();
  }

  #letOvertake(bytes: Buffer): void {
    this.#overtaken?.();
    const timer = this.#later(longestOvertakingMs, bytes);
    this.#overtaken = () => {
      this.#overtaken = null;
      if (!this.#timers.delete(timer)) return;
      clearTimeout(timer);
      this.#send(bytes);
    };
  }

  #later(delayMs: number, bytes: Buffer): NodeJS.Timeout {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#send(bytes);
    }, delayMs);
    this.#timers.add(timer);
    return timer;
  }

  #send(bytes: Buffer): void {
    const { to } = this.#options;
    if (this.#partitioned) this.#stranded.push(bytes);
    else if (to.readyState === to.OPEN) {
      to.send(bytes, () => this.#sent());
      if (to.bufferedAmount > highWaterBytes) this.#congested = true;
      this.#pauseOrResume();
    }
  }

  #sent(): void {
    if (this.#options.to.bufferedAmount > lowWaterBytes) return;
    this.#congested = false;
    this.#pauseOrResume();
  }

  #pauseOrResume(): void {
    const { from } = this.#options;
    if (this.#partitioned || this.#congested) from.pause();
    else from.resume();
  }

  #closed(code: number, reason: Buffer): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.#stranded = [];
    const { to } = this.#options;
    // Codes that only say that no close frame came must not be sent on.
    if (code === 1005 || code === 1006) to.terminate();
    else to.close(code, reason);
  }
}
