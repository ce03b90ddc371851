/** What one direct connection has on its way, from what UDX counts (`uplink-window.ts`). */
import type { RawStream } from "hyperdht";
import { RecentBest } from "../traffic/recent-best.ts";
import { udxHeaderBytes, wireBytesSent } from "./datagram-bytes.ts";

export type LaneCounters = Pick<RawStream, "bytesTransmitted" | "packetsTransmitted" | "inflight" | "rtt">;

export class UplinkLane {
  readonly #counters: LaneCounters;
  readonly #nowMs: () => number;
  readonly #roundTrip: RecentBest;
  /** Handed to UDX, which holds it back so far; a little less, as what is sent again counts as sent. */
  #heldBytes = 0;
  /** When it was last looked at. */
  #payloadBytes: number;
  #carriedBytes: number;

  constructor(counters: LaneCounters, options: { readonly periodMs: number; readonly nowMs: () => number }) {
    this.#counters = counters;
    this.#nowMs = options.nowMs;
    this.#roundTrip = new RecentBest(options.periodMs, Math.min);
    this.#payloadBytes = payloadBytesOf(counters);
    this.#carriedBytes = carriedBytesOf(counters);
  }

  /** Under way, or about to be. */
  get bytes(): number {
    return this.#heldBytes + this.#counters.inflight;
  }

  get isInUse(): boolean {
    return this.bytes > 0;
  }

  /** Null: not measured yet. */
  get shortestRoundTripMs(): number | null {
    return this.#roundTrip.best;
  }

  /** By which round trips are longer now than the shortest. */
  get delayMs(): number {
    const { rtt } = this.#counters;
    return rtt - (this.shortestRoundTripMs ?? rtt);
  }

  wrote(bytes: number): void {
    this.#heldBytes += bytes;
  }

  look(): void {
    const { rtt, inflight } = this.#counters;
    const payloadBytes = payloadBytesOf(this.#counters);
    this.#heldBytes = Math.max(0, this.#heldBytes - (payloadBytes - this.#payloadBytes));
    this.#payloadBytes = payloadBytes;
    if (inflight > 0 && rtt > 0) this.#roundTrip.measured(rtt, this.#nowMs());
  }

  /** What the line has carried since this was asked last, headers and losses included: it is sent, and no longer in flight. */
  takeCarried(): number {
    const carriedBytes = carriedBytesOf(this.#counters);
    const bytes = carriedBytes - this.#carriedBytes;
    this.#carriedBytes = carriedBytes;
    return bytes;
  }
}

/** Without UDX's headers. What acknowledgements say of gaps counts, too; it is little. */
function payloadBytesOf({ bytesTransmitted, packetsTransmitted }: LaneCounters): number {
  return bytesTransmitted - udxHeaderBytes * packetsTransmitted;
}

function carriedBytesOf(counters: LaneCounters): number {
  return wireBytesSent(counters) - counters.inflight;
}
