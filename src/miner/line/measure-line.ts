/**
 * Measures the line to a network: whether it is reached, how far away it is, what can be sent and received, and whether other miners can
 * be reached directly. It joins nothing: it looks on, under a key that is forgotten afterwards.
 */
import { failureOf } from "../../protocol/failure.ts";
import { createIdentity } from "../../protocol/identity.ts";
import type { LineView } from "../../protocol/line-view.ts";
import { parseNetworkAddress, shareableAddress } from "../../protocol/network-address.ts";
import { HttpTransfers, type TransferBody } from "../../transport/blobs/http-transfers.ts";
import { probeUdp } from "../../transport/direct/udp-probe.ts";
import { agentFor } from "../../transport/pinned-agent.ts";
import { Traffic, type TrafficLimits } from "../../transport/traffic/traffic.ts";
import { type Clock, systemClock } from "../session/clock.ts";
import type { Welcome } from "../session/connection.ts";
import { visit } from "../session/observe.ts";
import { roundTripOf, type Transfer, transferRate } from "./transfer-rate.ts";

/** Besides the one that makes the connection. */
const roundTrips = 10;
/** For all of them, and for each direction's rate. */
const roundTripsMs = 5000;
const rateMs = 7000;
/** Everything has its limit, and all together is over by then; else this computer was asleep meanwhile, and the figures are of no use. */
const longestMs = 60_000;
const piece = new Uint8Array(256 << 10);

export interface LineOptions {
  /** The network's address, with what belongs behind its `#`. */
  readonly network: string;
  /** What may pass meanwhile, bytes per second; null: as much as can. */
  readonly limits: TrafficLimits;
  /** Why rates are not to be measured; null: they are. */
  readonly withoutRates: "not-asked" | "metered" | null;
  /** Whether this machine reaches others directly where it can. */
  readonly direct: boolean;
  readonly onProgress: (text: string) => void;
  readonly signal: AbortSignal;
  readonly clock?: Pick<Clock, "nowMs">;
}

type Move = (bytes: number, signal: AbortSignal) => Promise<void>;

/** By the network, which has measured enough for now, or by a proxy before it, which takes no such bodies. */
class RefusedTransfer extends Error {}

type Measured = Omit<LineView, "network" | "failure">;

const unmeasured: Measured = {
  way: "blocked",
  roundTripMs: null,
  jitterMs: null,
  upBytesPerSecond: null,
  downBytesPerSecond: null,
  withoutRates: null,
  movedBytes: 0,
  udp: "not-measured",
};

/**
 * A network that is not reached is a result, too. Where this computer slept meanwhile everything is measured once more. Rejects with the
 * signal's reason, or invalid-option when it is no network's address.
 */
export async function measureLine(options: LineOptions): Promise<LineView> {
  const { clock = systemClock, onProgress } = options;
  const beganAtMs = clock.nowMs();
  const line = await measureOnce(options);
  if (clock.nowMs() - beganAtMs <= longestMs) return line;
  onProgress("this computer was asleep meanwhile: once more …");
  return measureOnce(options);
}

async function measureOnce(options: LineOptions): Promise<LineView> {
  const network = shareableAddress(parseNetworkAddress(options.network));
  options.signal.throwIfAborted();
  try {
    options.onProgress("reaching the network …");
    return { network, failure: null, ...(await measureReached(options)) };
  } catch (error) {
    options.signal.throwIfAborted();
    const failure = failureOf(error);
    if (failure === undefined) throw error;
    return { network, failure, ...unmeasured };
  }
}

function measureReached(options: LineOptions): Promise<Measured> {
  return visit<Measured>(options.network, createIdentity(), systemClock, (_, resolve, reject) => {
    options.signal.addEventListener("abort", () => reject(options.signal.reason), { once: true });
    return { opened: (welcome) => void new Measurement(options, welcome).run().then(resolve, reject) };
  });
}

class Measurement {
  readonly #options: LineOptions;
  readonly #clock: Pick<Clock, "nowMs">;
  readonly #welcome: Welcome;
  readonly #traffic = new Traffic(systemClock);
  readonly #transfers: HttpTransfers;
  #isRefused = false;

  constructor(options: LineOptions, welcome: Welcome) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#welcome = welcome;
    this.#traffic.limit(options.limits);
    const { url, certificateSha256 } = parseNetworkAddress(options.network);
    this.#transfers = new HttpTransfers(url.replace(/^ws/, "http"), this.#traffic, rateMs, agentFor(certificateSha256));
  }

  async run(): Promise<Measured> {
    const { onProgress, limits } = this.#options;
    onProgress("round trips, and UDP …");
    const [roundTrip, udp] = await Promise.all([this.#roundTrip(), this.#udp()]);
    const rates = await this.#rates(roundTrip?.medianMs ?? 0);
    const { sentBytes, receivedBytes } = this.#traffic.totals;
    return {
      way: udp === "consistent" ? "direct" : "relayed",
      roundTripMs: roundTrip?.medianMs ?? null,
      jitterMs: roundTrip?.jitterMs ?? null,
      // What gathered of a cap while nothing passed lets the beginning through faster.
      upBytesPerSecond: rates.up && Math.min(rates.up, limits.upload ?? rates.up),
      downBytesPerSecond: rates.down && Math.min(rates.down, limits.download ?? rates.down),
      withoutRates: rates.without,
      movedBytes: sentBytes + receivedBytes,
      udp,
    };
  }

  async #roundTrip(): Promise<ReturnType<typeof roundTripOf>> {
    const transfer = this.#timed((bytes, signal) => this.#receive(bytes, signal), roundTripsMs);
    const samplesMs: number[] = [];
    await transfer(0); // makes the connection
    while (samplesMs.length < roundTrips) {
      const elapsedMs = await transfer(0);
      if (elapsedMs === null) break;
      samplesMs.push(elapsedMs);
    }
    return roundTripOf(samplesMs);
  }

  async #udp(): Promise<LineView["udp"]> {
    const { bootstrap } = this.#welcome;
    if (!this.#options.direct) return "switched-off";
    if (bootstrap.length === 0) return "not-offered";
    // Where its native parts do not load there are no direct connections either.
    return probeUdp(bootstrap).catch(() => "not-measured" as const);
  }

  async #rates(roundTripMs: number) {
    const { withoutRates, onProgress } = this.#options;
    if (withoutRates !== null) return { up: null, down: null, without: withoutRates };
    const rateOf = (move: Move) => transferRate(this.#timed(move, rateMs), roundTripMs);
    onProgress("download …");
    const down = await rateOf((bytes, signal) => this.#receive(bytes, signal));
    onProgress("upload …");
    const up = await rateOf((bytes, signal) => this.#send(bytes, signal));
    const reason = this.#isRefused ? ("refused" as const) : ("too-slow" as const);
    return { up, down, without: up === null || down === null ? reason : null };
  }

  /** Transfers that have so long together. One that the network refuses ends them, too: what was measured by then counts. */
  #timed(move: Move, limitMs: number): Transfer {
    const late = AbortSignal.timeout(limitMs);
    const signal = AbortSignal.any([late, this.#options.signal]);
    return async (bytes) => {
      const beganAtMs = this.#clock.nowMs();
      try {
        await move(bytes, signal);
      } catch (error) {
        if (error instanceof RefusedTransfer) this.#isRefused = true;
        else if (!late.aborted) throw error;
        return null;
      }
      const elapsedMs = this.#clock.nowMs() - beganAtMs;
      // Who sleeps on the way comes to the end before the time limit is noticed.
      return elapsedMs <= limitMs ? elapsedMs : null;
    };
  }

  async #receive(bytes: number, signal: AbortSignal): Promise<void> {
    const answer = await this.#request("GET", bytes, signal);
    for await (const _ of this.#transfers.chunks(answer));
  }

  async #send(bytes: number, signal: AbortSignal): Promise<void> {
    let left = bytes;
    const next = async (mostBytes: number) => {
      const part = piece.subarray(0, Math.min(left, mostBytes));
      left -= part.length;
      return part;
    };
    (await this.#request("PUT", bytes, signal, { bytes, next })).resume();
  }

  /** Rejects with `RefusedTransfer`, and with `FailureError` (unreachable). */
  async #request(method: "GET" | "PUT", bytes: number, signal: AbortSignal, body?: TransferBody) {
    const headers = () => ({ authorization: `Bearer ${this.#welcome.blobToken}` });
    const request = { method, headers, signal, ...(body !== undefined && { body }) };
    const answer = await this.#transfers.request(`/line/${bytes}`, request);
    if (answer.statusCode === 200 || answer.statusCode === 204) return answer;
    answer.resume();
    throw new RefusedTransfer(`HTTP ${answer.statusCode}`);
  }
}
