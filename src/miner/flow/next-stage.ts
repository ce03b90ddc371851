/** Which replica of the next stage is to have a microbatch: chosen by chance, in favour of those that have it done soonest. */
import type { MinerId } from "../../protocol/ids.ts";
import type { Clock } from "../session/clock.ts";
import type { Routes } from "./routes.ts";

/** Who is full is not asked for so long, twice as long each time in a row, up to the longest. Each with jitter. */
const shortestRestMs = 20;
const longestRestMs = 1000;
/** How much of a peer's service time is decided by the last one: a slow-down shows within a few microbatches. */
const smoothing = 0.3;

interface Peer {
  /** This replica's microbatches that it has. */
  load: number;
  /** From sending activations until their gradient is back, smoothed; null while nothing is known. */
  serviceMs: number | null;
  fullInRow: number;
  restsUntilMs: number;
}

export class NextStage {
  readonly #routes: Routes;
  readonly #stage: number;
  readonly #clock: Clock;
  readonly #peers = new Map<MinerId, Peer>();

  constructor(routes: Routes, stage: number, clock: Clock) {
    this.#routes = routes;
    this.#stage = stage;
    this.#clock = clock;
  }

  /**
   * Null while nobody is there or all are full. A replica's chance grows with its weight and falls with its service time and its load:
   * squared, so that of two equal ones the free one is taken 4 times in 5 rather than one with a single microbatch.
   */
  choose(): MinerId | null {
    const nowMs = this.#clock.nowMs();
    const candidates = this.#routes.live(this.#stage).flatMap(({ minerId, weight }) => {
      const { load, serviceMs, restsUntilMs } = this.#peer(minerId);
      return restsUntilMs > nowMs ? [] : [{ minerId, load, weight, serviceMs }];
    });
    const measured = candidates.flatMap(({ serviceMs }) => serviceMs ?? []);
    const typicalMs = measured.reduce((sum, serviceMs) => sum + serviceMs, 0) / measured.length;
    const chances = candidates.map(({ load, weight, serviceMs }) => {
      const slowness = serviceMs === null ? 1 : Math.max(serviceMs, 1) / Math.max(typicalMs, 1);
      return weight / slowness / (1 + load) ** 2;
    });
    let draw = this.#clock.random() * chances.reduce((sum, chance) => sum + chance, 0);
    const chosen = candidates.find((_, index) => {
      draw -= chances[index] ?? 0;
      return draw < 0;
    });
    return (chosen ?? candidates.at(-1))?.minerId ?? null;
  }

  /** How long until somebody may be asked again; null while nobody is there. It may be over by now, although `choose` found nobody. */
  restMs(): number | null {
    const nowMs = this.#clock.nowMs();
    const rests = this.#routes.live(this.#stage).map(({ minerId }) => this.#peer(minerId).restsUntilMs - nowMs);
    return rests.length === 0 ? null : Math.max(0, Math.min(...rests));
  }

  began(miner: MinerId): void {
    this.#peer(miner).load += 1;
  }

  ended(miner: MinerId): void {
    this.#peer(miner).load -= 1;
  }

  accepted(miner: MinerId): void {
    this.#peer(miner).fullInRow = 0;
  }

  full(miner: MinerId): void {
    const peer = this.#peer(miner);
    const restMs = Math.min(longestRestMs, shortestRestMs * 2 ** peer.fullInRow);
    peer.fullInRow += 1;
    peer.restsUntilMs = this.#clock.nowMs() + restMs * (0.5 + this.#clock.random());
  }

  served(miner: MinerId, serviceMs: number): void {
    const peer = this.#peer(miner);
    peer.serviceMs = peer.serviceMs === null ? serviceMs : peer.serviceMs + smoothing * (serviceMs - peer.serviceMs);
  }

  #peer(miner: MinerId): Peer {
    const peer = this.#peers.get(miner) ?? { load: 0, serviceMs: null, fullInRow: 0, restsUntilMs: 0 };
    this.#peers.set(miner, peer);
    return peer;
  }
}
