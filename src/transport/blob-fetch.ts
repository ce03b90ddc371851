/**
 * The taking side of `peer-blobs.ts`: brings one blob here in parts, a few at a time, from one holder after the other. What has
 * arrived is kept when the holder, or this miner's own link, is lost on the way.
 */
import { FailureError } from "../protocol/failure.ts";
import { hashBytes } from "../protocol/identity.ts";
import type { BlobHash, MinerId } from "../protocol/ids.ts";
import type { BlobPart, BlobRequest } from "../protocol/merge-messages.ts";
import { BlobParts, type PartialBlob } from "./blob-parts.ts";
import { maxPartBytes } from "./blob-serving.ts";
import type { RoundTrip } from "./round-trip.ts";
import { limitsOf, type WantedBlob } from "./wanted-blob.ts";

/** Enough to keep a link busy while requests are on their way. */
const partsInFlight = 4;
/**
 * When a holder sends nothing for longer than its parts were measured to take, the next one is asked, and later the first one again,
 * with twice the patience, until it was silent so often in a row. To ask too early doubles what crosses a link that is full already:
 * so never before what was asked for would have come over a slow link that others use, too.
 */
const maxSilences = 3;
const slowLinkBytesPerMs = 1000;

export interface FetchOptions {
  readonly signal?: AbortSignal;
  /** Of a blob whose length is known. */
  readonly partial?: PartialBlob;
  /** A holder served bytes that are not the blob's: it lies, or is broken. */
  readonly onWrong?: (holder: MinerId) => void;
  /** It timed out: this holder, and each other that is named, may have it and said nothing. */
  readonly onSilent?: (holder: MinerId) => void;
}

/** What a fetch needs of the world. */
export interface FetchSurroundings {
  ask(holder: MinerId, request: BlobRequest): void;
  /** How long parts of a holder take. */
  roundTrip(holder: MinerId): RoundTrip;
  /** Holders that were silent when they were last asked: others are asked first. */
  readonly silent: Set<MinerId>;
  nowMs(): number;
  after(delayMs: number, action: () => void): () => void;
}

export class BlobFetch {
  readonly #hash: BlobHash;
  readonly #options: FetchOptions;
  readonly #surroundings: FetchSurroundings;
  readonly #parts: BlobParts;
  /** Those who may still have it, and how often they were silent in a row. */
  readonly #silences: Map<MinerId, number>;
  readonly #end = Promise.withResolvers<Uint8Array>();
  #holder: MinerId | null = null;
  /** Holders that could not be reached since the last silence. They may be back soon, as all are when the network itself was away. */
  readonly #lost = new Set<MinerId>();
  /** Whether parts of several holders may make up the blob. Once such a mixture was wrong, nobody knows whose part was. */
  #mayMix = true;
  #connected: boolean;
  #cancelAlarm = () => {};
  #ended = false;

  /** `begun`: what `options.partial` has. */
  constructor(
    { hash, bytes }: WantedBlob,
    holders: readonly MinerId[],
    connected: boolean,
    surroundings: FetchSurroundings,
    options: FetchOptions,
    begun: Uint8Array,
  ) {
    this.#hash = hash;
    this.#parts = new BlobParts(limitsOf(bytes), options.partial, begun);
    this.#connected = connected;
    this.#surroundings = surroundings;
    this.#options = options;
    this.#silences = new Map(holders.map((holder) => [holder, 0]));
  }

  /** Rejects with `FailureError`: blob-not-found when nobody has it, timed-out when those who may have it are silent, cancelled. */
  async run(): Promise<Uint8Array> {
    const { signal } = this.#options;
    const cancel = () => this.#fail(new FailureError("cancelled", "The transfer was cancelled."));
    signal?.addEventListener("abort", cancel, { once: true });
    if (signal?.aborted) cancel();
    else if (this.#parts.isComplete) this.#complete();
    else this.#askNext();
    try {
      return await this.#end.promise;
    } finally {
      this.#ended = true;
      this.#cancelAlarm();
      signal?.removeEventListener("abort", cancel);
    }
  }

  /** The link is gone: nothing can come, and nobody is to blame for it. */
  disconnected(): void {
    this.#connected = false;
    this.#cancelAlarm();
  }

  connected(): void {
    this.#connected = true;
    this.#lost.clear();
    if (!this.#ended) this.#askAgain();
  }

  /** Another one is asked at once; with nobody else to ask, this one again after a while. */
  peerLost(peer: MinerId): void {
    if (this.#ended) return;
    this.#lost.add(peer);
    const isAnyoneLeft = [...this.#silences.keys()].some((holder) => !this.#lost.has(holder));
    if (peer === this.#holder && isAnyoneLeft) this.#askNext();
  }

  received(from: MinerId, { offset, totalBytes, bytes }: BlobPart): void {
    this.#surroundings.silent.delete(from);
    if (this.#ended || !this.#silences.has(from)) return;
    if (from !== this.#holder && !this.#mayMix) return;
    if (bytes === null) {
      this.#passOver(from);
      return;
    }
    this.#parts.suggestSize(totalBytes);
    const hasSize = totalBytes === this.#parts.bytes.length;
    if (!hasSize && this.#isDisputed(from)) {
      this.#startOver();
      return;
    }
    const index = offset / maxPartBytes;
    const part = this.#parts.parts[index];
    if (part === undefined || !hasSize || bytes.length !== this.#parts.lengthOf(index)) {
      this.#wrong(from);
      return;
    }
    if (part.state === "here") return;
    // Of something that was asked for twice nobody knows which one was answered (Karn & Partridge 1987).
    if (part.state === "asked" && from === this.#holder && this.#silencesOf(from) === 0)
      this.#surroundings.roundTrip(from).measured(this.#surroundings.nowMs() - part.askedAtMs);
    this.#parts.take(index, bytes, from);
    this.#silences.set(from, 0);
    if (this.#parts.isComplete) this.#complete();
    else this.#ask();
  }

  #complete(): void {
    const { bytes, parts } = this.#parts;
    if (hashBytes(bytes) === this.#hash) {
      this.#end.resolve(bytes);
      return;
    }
    const [from, ...others] = new Set(parts.map((part) => part.from));
    this.#parts.forgetAll();
    if (from != null && others.length === 0) this.#wrong(from);
    else this.#startOver();
  }

  /** From one holder alone: what several say does not fit together. */
  #startOver(): void {
    this.#mayMix = false;
    this.#parts.forgetAll();
    this.#askNext();
  }

  #wrong(holder: MinerId): void {
    this.#options.onWrong?.(holder);
    this.#parts.forgetFrom(holder);
    this.#passOver(holder);
  }

  /** This holder does not have it. */
  #passOver(holder: MinerId): void {
    this.#silences.delete(holder);
    if (holder === this.#holder) this.#askNext();
    else this.#ask();
  }

  #silent(holder: MinerId): void {
    for (const silent of new Set([holder, ...this.#lost])) {
      if (this.#silences.has(silent)) this.#silences.set(silent, this.#silencesOf(silent) + 1);
      this.#surroundings.silent.add(silent);
    }
    this.#lost.clear();
    this.#askNext();
  }

  /** Turns to the holder that was silent least often, if it can be reached; of equals to the one after the current. */
  #askNext(): void {
    const holders = [...this.#silences.keys()];
    const after = this.#holder === null ? 0 : holders.indexOf(this.#holder) + 1;
    const inTurn = [...holders.slice(after), ...holders.slice(0, after)];
    const reachable = inTurn.filter((holder) => !this.#lost.has(holder));
    const wasSilent = (holder: MinerId) => Number(this.#surroundings.silent.has(holder));
    const [next] = (reachable.length > 0 ? reachable : inTurn).toSorted(
      (a, b) => this.#silencesOf(a) - this.#silencesOf(b) || wasSilent(a) - wasSilent(b),
    );
    if (next === undefined)
      this.#fail(new FailureError("blob-not-found", `Nobody has the blob ${this.#hash}.`, { retry: true }));
    else if (this.#silencesOf(next) >= maxSilences) {
      for (const holder of holders) this.#options.onSilent?.(holder);
      this.#fail(new FailureError("timed-out", `Nobody sends the blob ${this.#hash}.`, { retry: true }));
    } else {
      if (next !== this.#holder && !this.#mayMix) this.#parts.forgetAll();
      this.#holder = next;
      this.#askAgain();
    }
  }

  #silencesOf(holder: MinerId): number {
    return this.#silences.get(holder) ?? 0;
  }

  #askAgain(): void {
    this.#parts.forgetAsked();
    this.#ask();
  }

  /** Asks for the next parts, and waits anew. */
  #ask(): void {
    const holder = this.#holder;
    if (!this.#connected || holder === null) return;
    const askedAtMs = this.#surroundings.nowMs();
    const { parts } = this.#parts;
    let inFlight = parts.filter(({ state }) => state === "asked").length;
    for (const [index, part] of parts.entries()) {
      if (inFlight >= partsInFlight) break;
      if (part.state !== "missing") continue;
      part.state = "asked";
      part.askedAtMs = askedAtMs;
      inFlight += 1;
      const request = { hash: this.#hash, offset: index * maxPartBytes, length: this.#parts.lengthOf(index) };
      this.#surroundings.ask(holder, request);
    }
    this.#cancelAlarm();
    this.#cancelAlarm = this.#surroundings.after(this.#patienceMs(holder), () => this.#silent(holder));
  }

  #patienceMs(holder: MinerId): number {
    const asked = this.#parts.parts.reduce(
      (sum, { state }, index) => sum + (state === "asked" ? this.#parts.lengthOf(index) : 0),
      0,
    );
    const slowestMs = asked / slowLinkBytesPerMs;
    return this.#surroundings.roundTrip(holder).timeoutMs(1 + this.#silencesOf(holder), slowestMs);
  }

  /** Whether somebody else said how long it is, and this one says otherwise. */
  #isDisputed(from: MinerId): boolean {
    const { hasOpenSize, parts } = this.#parts;
    return hasOpenSize && this.#mayMix && parts.some((part) => part.state === "here" && part.from !== from);
  }

  #fail(failure: FailureError): void {
    this.#end.reject(failure);
  }
}
