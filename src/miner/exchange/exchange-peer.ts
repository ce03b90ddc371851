/** What a replica knows of another one that it exchanges with, and how long it waits for it. */
import { RoundTrip } from "../../transport/round-trip.ts";

/** Who lives may lose a message, hardly so many in a row. */
const mostSilentAsks = 3;
/** Whoever answers that it is not so far yet is waited for so many times as long as it ever took, within these: all others stand still. */
const patienceFactor = 4;
const shortestPatienceMs = 10_000;
const longestPatienceMs = 60_000;
/** How often a peer is sent the same part again. */
const mostResends = 4;
/** Who asks faster than its answers leave may ask again: it cannot pile them up here. */
const mostAnswersUnderWay = 4;

export class ExchangePeer {
  /** Messages that came from it. */
  news = 0;
  /** The last step that it is known to have taken. */
  newestStep = -1;
  /** It was waited for in vain: it is not waited for again until it has taken another step. */
  isAbsent = false;
  readonly #delays = new RoundTrip();
  #slowestMs = 0;
  readonly #resends = new Map<string, number>();
  #answersUnderWay = 0;

  heard(): void {
    this.news += 1;
  }

  stepped(step: number): void {
    if (step <= this.newestStep) return;
    this.newestStep = step;
    this.isAbsent = false;
  }

  /** Its movement was here so long after this replica's own. */
  came(delayMs: number): void {
    this.#delays.measured(delayMs);
    this.#slowestMs = Math.max(this.#slowestMs, delayMs);
  }

  /** How long its movement is waited for before it is asked for it, `asks` times so far. */
  timeoutMs(asks: number): number {
    return this.#delays.timeoutMs(asks + 1);
  }

  get patienceMs(): number {
    return Math.min(longestPatienceMs, Math.max(shortestPatienceMs, patienceFactor * this.#slowestMs));
  }

  /** Counts it, if it may be sent this part of this step again: it cannot make this replica send without end. */
  mayHaveAgain(step: number, part: number): boolean {
    const key = `${step} ${part}`;
    const resends = this.#resends.get(key) ?? 0;
    this.#resends.set(key, resends + 1);
    return resends < mostResends;
  }

  /** Sends it an answer, unless several are still on their way to it. */
  async answer(send: () => Promise<void>): Promise<void> {
    if (this.#answersUnderWay === mostAnswersUnderWay) return;
    this.#answersUnderWay += 1;
    try {
      await send();
    } finally {
      this.#answersUnderWay -= 1;
    }
  }

  /** Steps before this one are over. */
  forgetBefore(step: number): void {
    for (const key of this.#resends.keys()) if (Number.parseInt(key, 10) < step) this.#resends.delete(key);
  }
}

/** Waiting for one movement of one peer. */
export class Patience {
  readonly #peer: ExchangePeer;
  #endsAtMs: number;
  #news: number;
  #asks = 0;
  #silentAsks = 0;
  #dueAtMs: number;

  /** `isAhead`: the peer has taken that step already, so that what it sent of it is lost. */
  constructor(peer: ExchangePeer, nowMs: number, isAhead: boolean) {
    this.#peer = peer;
    this.#news = peer.news;
    this.#endsAtMs = nowMs + peer.patienceMs;
    this.#dueAtMs = isAhead ? nowMs : nowMs + peer.timeoutMs(0);
  }

  /** Until when there is nothing to do unless something is heard. */
  get dueAtMs(): number {
    return Math.min(this.#dueAtMs, this.#endsAtMs);
  }

  /** `ask`: send it a question, which is counted. */
  decide(nowMs: number): "wait" | "ask" | "give-up" {
    if (this.#peer.news !== this.#news) {
      this.#news = this.#peer.news;
      this.#silentAsks = 0;
      this.#dueAtMs = nowMs + this.#peer.timeoutMs(this.#asks);
    }
    if (nowMs < this.dueAtMs) return "wait";
    if (this.#silentAsks === mostSilentAsks || nowMs >= this.#endsAtMs) {
      this.#peer.isAbsent = true;
      return "give-up";
    }
    this.#asks += 1;
    this.#silentAsks += 1;
    this.#dueAtMs = nowMs + this.#peer.timeoutMs(this.#asks);
    return "ask";
  }

  /** The network cannot be reached: nothing can be heard, and nobody is to blame for it. */
  pause(nowMs: number): void {
    this.#dueAtMs = nowMs + this.#peer.timeoutMs(this.#asks);
    this.#endsAtMs = Math.max(this.#endsAtMs, nowMs + this.#peer.patienceMs);
  }
}
