/**
 * Sends to a replica until it answers. No single lost message matters then: what is not answered in time is sent again, and who
 * gets it twice says so. While the network cannot be reached everything waits, and is sent again when it can.
 */
import type { Answer, AnsweredKind, Verdict } from "../../protocol/answer.ts";
import type { MinerId } from "../../protocol/ids.ts";
import { encodeMicrobatch, type MicrobatchMessage } from "../../protocol/microbatch.ts";
import { payloadDigest } from "../../protocol/transfer-record.ts";
import { RoundTrip } from "../../transport/round-trip.ts";
import type { Clock } from "../session/clock.ts";
import type { Peers } from "./peers.ts";
import type { Routes } from "./routes.ts";
import type { Transfers } from "./transfers.ts";

/** `silent`: it did not answer as often as it was asked. `gone`: it was lost. */
export type Outcome = Verdict | "silent" | "gone";

export interface DeliveryOptions {
  readonly routes: Routes;
  readonly peers: Pick<Peers, "send">;
  readonly transfers: Pick<Transfers, "sign">;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** A message to be signed as it leaves. */
export type Outgoing = Omit<MicrobatchMessage, "signature">;

interface Pending {
  readonly to: MinerId;
  readonly kind: AnsweredKind;
  readonly message: MicrobatchMessage;
  readonly mostSends: number;
  readonly outcome: PromiseWithResolvers<Outcome>;
  sends: number;
  sentAtMs: number;
  /** Whether it is on its way, rather than waiting for the network. */
  isUnderWay: boolean;
  stopTimer: () => void;
}

export class Deliveries {
  readonly #options: DeliveryOptions;
  readonly #pending = new Map<string, Pending>();
  readonly #roundTrips = new Map<MinerId, RoundTrip>();

  constructor(options: DeliveryOptions) {
    this.#options = options;
    options.routes.onChange(() => this.#review());
    options.signal.addEventListener("abort", () => this.#callOff(), { once: true });
  }

  /** Rejects when the epoch's signal is aborted. The same again while it is under way is one delivery. */
  deliver(to: MinerId, kind: AnsweredKind, message: Outgoing, mostSends = Number.POSITIVE_INFINITY): Promise<Outcome> {
    if (this.#options.signal.aborted) return Promise.reject(this.#options.signal.reason);
    const key = keyOf(to, { ...message, about: kind });
    const current = this.#pending.get(key);
    if (current !== undefined) return current.outcome.promise;
    const outcome = Promise.withResolvers<Outcome>();
    const pending: Pending = {
      to,
      kind,
      message: { ...message, signature: this.#signature(kind, message) },
      mostSends,
      outcome,
      sends: 0,
      sentAtMs: 0,
      isUnderWay: false,
      stopTimer: () => {},
    };
    this.#pending.set(key, pending);
    this.#examine(key, pending);
    return outcome.promise;
  }

  /** False when nothing that is under way is answered by this. */
  answered(from: MinerId, answer: Answer): boolean {
    const key = keyOf(from, answer);
    const pending = this.#pending.get(key);
    if (pending === undefined) return false;
    // Of something that was sent twice nobody knows which one was answered (Karn & Partridge 1987).
    if (pending.sends === 1) this.#roundTrip(from).measured(this.#options.clock.nowMs() - pending.sentAtMs);
    this.#settle(key, pending, answer.verdict);
    return true;
  }

  /** It need not be sent again: what it was for has happened in another way. */
  withdraw(to: MinerId, kind: AnsweredKind, message: Outgoing): void {
    const key = keyOf(to, { ...message, about: kind });
    const pending = this.#pending.get(key);
    if (pending !== undefined) this.#settle(key, pending, "gone");
  }

  /** A flush marker has none: there is nothing in it to be computed from. */
  #signature(kind: AnsweredKind, { step, microbatch: index, payload, origin }: Outgoing): string {
    if (kind === "flush") return "";
    return this.#options.transfers.sign({ kind, step, index, digest: payloadDigest(payload), origin });
  }

  #review(): void {
    for (const [key, pending] of [...this.#pending]) this.#examine(key, pending);
  }

  /** Does with it what the receiver's standing asks for. */
  #examine(key: string, pending: Pending): void {
    const standing = this.#options.routes.standing(pending.to, pending.message.stage);
    if (standing === "gone") this.#settle(key, pending, "gone");
    else if (standing === "away") {
      pending.isUnderWay = false;
      pending.stopTimer();
    } else if (!pending.isUnderWay) void this.#send(key, pending);
  }

  async #send(key: string, pending: Pending): Promise<void> {
    const { peers, clock, signal } = this.#options;
    const sends = pending.sends + 1;
    pending.sends = sends;
    pending.isUnderWay = true;
    pending.sentAtMs = clock.nowMs();
    try {
      await peers.send(pending.to, pending.kind, encodeMicrobatch(pending.message), signal);
    } catch (error) {
      if (!signal.aborted) pending.outcome.reject(error);
      return;
    }
    // It may have been answered, called off or sent again meanwhile.
    if (this.#pending.get(key) !== pending || pending.sends !== sends || !pending.isUnderWay) return;
    pending.stopTimer = clock.after(this.#roundTrip(pending.to).timeoutMs(sends), () => {
      if (pending.sends >= pending.mostSends) this.#settle(key, pending, "silent");
      else void this.#send(key, pending);
    });
  }

  #settle(key: string, pending: Pending, outcome: Outcome): void {
    pending.stopTimer();
    this.#pending.delete(key);
    pending.outcome.resolve(outcome);
  }

  #callOff(): void {
    for (const pending of this.#pending.values()) {
      pending.stopTimer();
      pending.outcome.reject(this.#options.signal.reason);
    }
    this.#pending.clear();
  }

  #roundTrip(miner: MinerId): RoundTrip {
    const roundTrip = this.#roundTrips.get(miner) ?? new RoundTrip();
    this.#roundTrips.set(miner, roundTrip);
    return roundTrip;
  }
}

function keyOf(
  peer: MinerId,
  { about, stage, step, microbatch }: Pick<Answer, "about" | "stage" | "step" | "microbatch">,
): string {
  return `${about} ${stage} ${step} ${microbatch} ${peer}`;
}
