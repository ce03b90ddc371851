/**
 * A replica's microbatches that are further on: it keeps their activations until their gradient is back, and finds another replica
 * of the next stage when the one that has a microbatch is full, silent or gone. So a broken path goes on from the last stage
 * that still holds the microbatch.
 */
import type { MinerId } from "../../protocol/ids.ts";
import type { TransferRecord } from "../../protocol/transfer-record.ts";
import type { Outcome, Outgoing } from "./deliveries.ts";
import type { Epoch } from "./epoch.ts";
import type { Received } from "./inbound.ts";
import { NextStage } from "./next-stage.ts";

/** A replica that lives may lose a message, hardly so many in a row; another one would train the same microbatch a second time. */
const mostSends = 4;
/** Who has had a microbatch for long is sent it again: it may have been started anew, or its answer `lost` may be lost. */
const reminderFactor = 3;
const shortestReminderMs = 10_000;

export interface Returned {
  /** Payload of [rows, columns]. */
  readonly gradient: Uint8Array;
  /** One miner per stage. */
  readonly path: readonly MinerId[];
  /** Of what it was computed from. */
  readonly origin: TransferRecord | null;
}

interface Flight {
  readonly message: Outgoing;
  readonly sentTo: Set<MinerId>;
  readonly landing: PromiseWithResolvers<Returned | null>;
  hasLanded: boolean;
  holder: { readonly miner: MinerId; readonly sinceMs: number } | null;
  /** Something that it waits for may have happened. */
  wake: () => void;
}

export class Onward {
  readonly #epoch: Epoch;
  readonly #next: NextStage;
  readonly #flights = new Map<number, Flight>();
  /** Microbatches whose gradient came. */
  readonly #returned = new Set<number>();
  readonly #onRefused: () => void;
  #slowestMs = 0;

  /** `refused`: a replica had no room for a microbatch. */
  constructor(epoch: Epoch, refused: () => void = () => {}) {
    this.#epoch = epoch;
    this.#onRefused = refused;
    const { routes, place, clock, signal } = epoch.options;
    this.#next = new NextStage(routes, place.stage.index + 1, clock);
    routes.onChange(() => this.#each((flight) => flight.wake()));
    signal.addEventListener("abort", () => this.#each((flight) => this.#land(flight, null)), { once: true });
  }

  /** Sends activations on and resolves with their gradient, or with null: it will not come. Rejects when the epoch is over. */
  async exchange(message: Outgoing): Promise<Returned | null> {
    const flight: Flight = {
      message,
      sentTo: new Set(),
      landing: Promise.withResolvers(),
      hasLanded: false,
      holder: null,
      wake: () => {},
    };
    this.#flights.set(message.microbatch, flight);
    const { react, signal } = this.#epoch.options;
    react(() => this.#carry(flight));
    const returned = await flight.landing.promise;
    signal.throwIfAborted();
    return returned;
  }

  /** A gradient that came from the next stage, which is answered. */
  receive(from: MinerId, message: Received): void {
    const { microbatch, path, record, payload } = message;
    const flight = this.#flights.get(microbatch);
    if (flight === undefined || !flight.sentTo.has(from)) {
      this.#epoch.answer(from, "backward", message, this.#returned.has(microbatch) ? "accepted" : "stale");
      return;
    }
    this.#epoch.answer(from, "backward", message, "accepted");
    this.#returned.add(microbatch);
    this.#measure(flight, from);
    this.#land(flight, { gradient: payload, path, origin: record });
  }

  /** The replica that has it says that it will not come back. */
  lost(from: MinerId, microbatch: number): void {
    const flight = this.#flights.get(microbatch);
    if (flight?.holder?.miner === from) this.#land(flight, null);
  }

  /** Waits for it no longer. */
  giveUp(microbatch: number): void {
    const flight = this.#flights.get(microbatch);
    if (flight !== undefined) this.#land(flight, null);
  }

  async #carry(flight: Flight): Promise<void> {
    const { tally } = this.#epoch;
    let before: MinerId | null = null;
    while (!flight.hasLanded) {
      const to = await this.#taker(flight);
      if (to === null) return;
      if (before !== null && before !== to) tally.microbatchesRerouted += 1;
      before = to;
      this.#next.began(to);
      await this.#leaveWith(flight, to);
      this.#next.ended(to);
    }
  }

  /** Somebody of the next stage who has room, as far as is known; null when the flight has landed. */
  async #taker(flight: Flight): Promise<MinerId | null> {
    while (!flight.hasLanded) {
      const chosen = this.#next.choose();
      if (chosen !== null) return chosen;
      await this.#sleep(flight, this.#next.restMs());
    }
    return null;
  }

  /** Until it is back, or has to be taken to another one. */
  async #leaveWith(flight: Flight, to: MinerId): Promise<void> {
    const { deliveries, options } = this.#epoch;
    flight.sentTo.add(to);
    flight.holder = { miner: to, sinceMs: options.clock.nowMs() };
    do {
      const outcome = await deliveries.deliver(to, "forward", flight.message, mostSends);
      if (outcome !== "accepted") return this.#refused(flight, to, outcome);
      this.#next.accepted(to);
    } while (await this.#needsReminding(flight, to));
  }

  #refused(flight: Flight, to: MinerId, outcome: Exclude<Outcome, "accepted">): void {
    if (outcome === "full") {
      this.#next.full(to);
      this.#onRefused();
    }
    if (outcome === "wrong-place") this.#epoch.options.routes.placeLost(to, flight.message.stage);
    // Its step is over elsewhere, or its numbers are not finite: another replica would not help.
    if (outcome === "stale" || outcome === "lost") this.#land(flight, null);
  }

  /** Waits while the replica has the microbatch; false when that is over. */
  async #needsReminding(flight: Flight, holder: MinerId): Promise<boolean> {
    const { routes, clock } = this.#epoch.options;
    const { session } = routes;
    const remindAtMs = clock.nowMs() + Math.max(shortestReminderMs, reminderFactor * this.#slowestMs);
    while (!flight.hasLanded) {
      const standing = routes.standing(holder, flight.message.stage);
      if (standing === "gone") return false;
      const remainingMs = remindAtMs - clock.nowMs();
      // Across a lost session the gradient may have been lost, or the answer that there will be none.
      if (standing === "live" && (remainingMs <= 0 || routes.session !== session)) return true;
      await this.#sleep(flight, standing === "live" ? remainingMs : null);
    }
    return false;
  }

  /** Until something happens that concerns the flight, or so much time has passed. */
  async #sleep(flight: Flight, forMs: number | null): Promise<void> {
    const woken = Promise.withResolvers<void>();
    flight.wake = woken.resolve;
    const stopTimer = forMs === null ? () => {} : this.#epoch.options.clock.after(forMs, woken.resolve);
    await woken.promise;
    stopTimer();
  }

  #land(flight: Flight, returned: Returned | null): void {
    flight.hasLanded = true;
    if (flight.holder !== null) this.#epoch.deliveries.withdraw(flight.holder.miner, "forward", flight.message);
    this.#flights.delete(flight.message.microbatch);
    flight.landing.resolve(returned);
    flight.wake();
  }

  #measure(flight: Flight, from: MinerId): void {
    if (flight.holder?.miner !== from) return;
    const serviceMs = this.#epoch.options.clock.nowMs() - flight.holder.sinceMs;
    this.#slowestMs = Math.max(this.#slowestMs, serviceMs);
    this.#next.served(from, serviceMs);
  }

  #each(act: (flight: Flight) => void): void {
    for (const flight of [...this.#flights.values()]) act(flight);
  }
}
