/** What a direct link knows of one peer: how messages travel to it, its connections, and when it is dialled next. */
import type { FailureError } from "../../protocol/failure.ts";
import type { BudgetClock } from "../traffic/byte-budget.ts";
import type { DirectConnection } from "./direct-connection.ts";
import type { PeerPath } from "./peer-path.ts";

/** Until a connection works, or else the peer counts as one that cannot be reached directly. */
const dialMs = 3000;
/** Then it is tried again after so long, and at last every five minutes: routers are restarted, and laptops carried about. */
const pausesMs = [1000, 10_000, 60_000, 300_000] as const;
/** Handshakes take time: a peer that has sent what it must not gets none for so long. */
const shunMs = 60_000;

export class DirectPeer {
  readonly path: PeerPath;
  readonly connections = new Set<DirectConnection>();
  readonly #clock: BudgetClock;
  /** In a row. */
  #failures = 0;
  #shunnedUntilMs = 0;
  /** Aborted when it takes too long, or is not wanted any more; null once the connection works. */
  #dialing: AbortController | null = null;
  /** Until it takes too long, or is tried again. */
  #cancelTimer: (() => void) | null = null;

  /** `changed`: messages travel another way from now on. */
  constructor(clock: BudgetClock, pathOf: (changed: () => void) => PeerPath, changed: (isDirect: boolean) => void) {
    this.#clock = clock;
    this.path = pathOf(() => {
      const isDirect = this.path.direct !== null;
      if (isDirect) this.#failures = 0;
      changed(isDirect);
    });
  }

  /** Neither connected nor dialled, now or later. */
  get isAtRest(): boolean {
    return this.#cancelTimer === null && this.connections.size === 0;
  }

  get isShunned(): boolean {
    return this.#shunnedUntilMs > this.#clock.nowMs();
  }

  shun(): void {
    this.#shunnedUntilMs = this.#clock.nowMs() + shunMs;
  }

  /** Aborted where it takes too long. */
  beginDialling(): AbortSignal {
    const dialing = new AbortController();
    this.#dialing = dialing;
    this.#setTimer(dialMs, () => dialing.abort());
    return dialing.signal;
  }

  connected(connection: DirectConnection): void {
    this.#cancelTimer?.();
    this.#dialing = null;
    this.path.opened(connection);
  }

  /** It did not work once more. */
  retry(dial: () => void): void {
    const shunnedMs = this.#shunnedUntilMs - this.#clock.nowMs();
    const pauseMs = Math.max(shunnedMs, pausesMs[Math.min(this.#failures, pausesMs.length - 1)] ?? 0);
    this.#failures += 1;
    this.#setTimer(pauseMs, dial);
  }

  disconnect(): void {
    for (const connection of this.connections) connection.close();
    this.#dialing?.abort();
    this.#cancelTimer?.();
  }

  /** What is under way to it fails so. */
  end(failure: FailureError): void {
    this.path.end(failure);
    this.disconnect();
  }

  #setTimer(delayMs: number, action: () => void): void {
    this.#cancelTimer?.();
    const cancel = this.#clock.after(delayMs, () => {
      this.#cancelTimer = null;
      action();
    });
    this.#cancelTimer = () => {
      cancel();
      this.#cancelTimer = null;
    };
  }
}
