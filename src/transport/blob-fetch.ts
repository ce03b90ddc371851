/**
 * The taking side of `peer-blobs.ts`: brings one blob here in parts, a few at a time, from one holder after the other. What has
 * arrived is kept when the holder, or this miner's own link, is lost on the way.
 */
import { FailureError } from "../protocol/failure.ts";
import { hashBytes } from "../protocol/identity.ts";
import type { BlobHash, MinerId } from "../protocol/ids.ts";
import type { BlobPart, BlobRequest } from "../protocol/merge-messages.ts";
import { maxPartBytes } from "./blob-serving.ts";
import type { RoundTrip } from "./round-trip.ts";
import { type ByteLimits, limitsOf, type WantedBlob } from "./wanted-blob.ts";

/** Enough to keep a link busy while requests are on their way. */
const partsInFlight = 4;
/**
 * When a holder sends nothing for longer than its parts were measured to take, the next one is asked, and later the first one again,
 * with twice the patience, until it was silent so often in a row. To ask too early doubles what crosses a link that is full already:
 * so never before what was asked for would have come over a slow link that others use, too.
 */
const maxSilences = 3;
const slowLinkBytesPerMs = 1000;

/** The beginning of a blob, kept where it outlives the fetch: a later one goes on behind it. */
export interface PartialBlob {
  /** What earlier fetches brought. */
  read(): Promise<Uint8Array>;
  /** What comes behind all that is kept. */
  append(bytes: Uint8Array): void;
  /** Some of it may be wrong: nothing is kept any more. */
  restart(): void;
}

export interface FetchOptions {
  readonly signal?: AbortSignal;
  /** Of a blob whose length is known. */
  readonly partial?: PartialBlob;
  /** A holder served bytes that are not the blob's: it lies, or is broken. */
  readonly onWrong?: (holder: MinerId) => void;
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

interface Part {
  state: "missing" | "asked" | "here";
  /** Who sent it. */
  from: MinerId | null;
  askedAtMs: number;
}

export class BlobFetch {
  readonly #hash: BlobHash;
  readonly #limits: ByteLimits;
  readonly #options: FetchOptions;
  readonly #surroundings: FetchSurroundings;
  /** Empty while nobody has said how long the blob is. */
  #bytes = Buffer.alloc(0);
  /** Of a blob whose length is not known, the first. */
  #parts: readonly Part[] = [];
  #isSizeKnown = false;
  /** As many of the first parts are kept. */
  #partsKept = 0;
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
    this.#limits = limitsOf(bytes);
    this.#connected = connected;
    this.#surroundings = surroundings;
    this.#options = options;
    this.#silences = new Map(holders.map((holder) => [holder, 0]));
    this.#forgetSize();
    this.#takeUp(begun);
  }

  /** Rejects with `FailureError`: blob-not-found when nobody has it, timed-out when those who may have it are silent, cancelled. */
  async run(): Promise<Uint8Array> {
    const { signal } = this.#options;
    const cancel = () => this.#fail(new FailureError("cancelled", "The transfer was cancelled."));
    signal?.addEventListener("abort", cancel, { once: true });
    if (signal?.aborted) cancel();
    else if (this.#parts.every(({ state }) => state === "here")) this.#complete();
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
    if (!this.#isSizeKnown && totalBytes >= this.#limits.least && totalBytes <= this.#limits.most)
      this.#takeSize(totalBytes);
    else if (totalBytes !== this.#bytes.length && this.#isDisputed(from)) {
      this.#startOver();
      return;
    }
    const index = offset / maxPartBytes;
    const part = this.#parts[index];
    if (part === undefined || totalBytes !== this.#bytes.length || bytes.length !== this.#lengthOf(index)) {
      this.#wrong(from);
      return;
    }
    if (part.state === "here") return;
    this.#bytes.set(bytes, offset);
    // Of something that was asked for twice nobody knows which one was answered (Karn & Partridge 1987).
    if (part.state === "asked" && from === this.#holder && this.#silencesOf(from) === 0)
      this.#surroundings.roundTrip(from).measured(this.#surroundings.nowMs() - part.askedAtMs);
    part.state = "here";
    part.from = from;
    this.#keepBeginning();
    this.#silences.set(from, 0);
    if (this.#parts.every(({ state }) => state === "here")) this.#complete();
    else this.#ask();
  }

  /** From whom it came is not known any more. */
  #takeUp(begun: Uint8Array): void {
    const { partial } = this.#options;
    if (partial === undefined || !this.#isSizeKnown) return;
    for (const [index, part] of this.#parts.entries()) {
      const offset = index * maxPartBytes;
      const end = offset + this.#lengthOf(index);
      if (end > begun.length) break;
      this.#bytes.set(begun.subarray(offset, end), offset);
      part.state = "here";
      this.#partsKept += 1;
    }
    if (begun.length === this.#lengthOfFirst(this.#partsKept)) return;
    partial.restart(); // it ends within a part
    this.#partsKept = 0;
    this.#keepBeginning();
  }

  #keepBeginning(): void {
    const { partial } = this.#options;
    if (partial === undefined) return;
    const firstMissing = this.#parts.findIndex(({ state }) => state !== "here");
    const here = firstMissing === -1 ? this.#parts.length : firstMissing;
    if (here < this.#partsKept) {
      partial.restart();
      this.#partsKept = 0;
    }
    if (here === this.#partsKept) return;
    partial.append(this.#bytes.subarray(this.#lengthOfFirst(this.#partsKept), this.#lengthOfFirst(here)));
    this.#partsKept = here;
  }

  #complete(): void {
    if (hashBytes(this.#bytes) === this.#hash) {
      this.#end.resolve(this.#bytes);
      return;
    }
    const [from, ...others] = new Set(this.#parts.map((part) => part.from));
    this.#forgetParts();
    if (from != null && others.length === 0) this.#wrong(from);
    else this.#startOver();
  }

  /** From one holder alone: what several say does not fit together. */
  #startOver(): void {
    this.#mayMix = false;
    this.#forgetParts();
    this.#askNext();
  }

  #wrong(holder: MinerId): void {
    this.#options.onWrong?.(holder);
    for (const part of this.#parts) if (part.from === holder) forget(part);
    if (this.#limits.least < this.#limits.most && this.#parts.every(({ state }) => state !== "here"))
      this.#forgetSize();
    this.#keepBeginning();
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
    else if (this.#silencesOf(next) >= maxSilences)
      this.#fail(new FailureError("timed-out", `Nobody sends the blob ${this.#hash}.`, { retry: true }));
    else {
      if (next !== this.#holder && !this.#mayMix) this.#forgetParts();
      this.#holder = next;
      this.#askAgain();
    }
  }

  #silencesOf(holder: MinerId): number {
    return this.#silences.get(holder) ?? 0;
  }

  #askAgain(): void {
    for (const part of this.#parts) if (part.state === "asked") forget(part);
    this.#ask();
  }

  /** Asks for the next parts, and waits anew. */
  #ask(): void {
    const holder = this.#holder;
    if (!this.#connected || holder === null) return;
    const askedAtMs = this.#surroundings.nowMs();
    let inFlight = this.#parts.filter(({ state }) => state === "asked").length;
    for (const [index, part] of this.#parts.entries()) {
      if (inFlight >= partsInFlight) break;
      if (part.state !== "missing") continue;
      part.state = "asked";
      part.askedAtMs = askedAtMs;
      inFlight += 1;
      const request = { hash: this.#hash, offset: index * maxPartBytes, length: this.#lengthOf(index) };
      this.#surroundings.ask(holder, request);
    }
    this.#cancelAlarm();
    this.#cancelAlarm = this.#surroundings.after(this.#patienceMs(holder), () => this.#silent(holder));
  }

  #patienceMs(holder: MinerId): number {
    const asked = this.#parts.reduce(
      (sum, { state }, index) => sum + (state === "asked" ? this.#lengthOf(index) : 0),
      0,
    );
    const slowestMs = asked / slowLinkBytesPerMs;
    return this.#surroundings.roundTrip(holder).timeoutMs(1 + this.#silencesOf(holder), slowestMs);
  }

  /** The last one may be shorter. Of a blob whose length is not known as much as comes. */
  #lengthOf(index: number): number {
    const bytes = this.#isSizeKnown ? this.#bytes.length : this.#limits.most;
    return Math.min(maxPartBytes, bytes - index * maxPartBytes);
  }

  #lengthOfFirst(parts: number): number {
    return Math.min(this.#bytes.length, parts * maxPartBytes);
  }

  #takeSize(bytes: number): void {
    const [first] = this.#parts;
    this.#isSizeKnown = true;
    this.#bytes = Buffer.from(new ArrayBuffer(bytes)); // owns its memory, aligned: it may be seen as f32 values
    const parts = Array.from({ length: Math.ceil(bytes / maxPartBytes) }, missingPart);
    this.#parts = first === undefined ? parts : parts.with(0, first);
  }

  /** Whether somebody else said how long it is, and this one says otherwise. */
  #isDisputed(from: MinerId): boolean {
    const isOpen = this.#limits.least < this.#limits.most;
    return isOpen && this.#mayMix && this.#parts.some((part) => part.state === "here" && part.from !== from);
  }

  #forgetParts(): void {
    for (const part of this.#parts) forget(part);
    if (this.#limits.least < this.#limits.most) this.#forgetSize();
    this.#keepBeginning();
  }

  #forgetSize(): void {
    this.#isSizeKnown = false;
    this.#parts = [missingPart()];
    if (this.#limits.least === this.#limits.most) {
      this.#parts = [];
      this.#takeSize(this.#limits.least);
    }
  }

  #fail(failure: FailureError): void {
    this.#end.reject(failure);
  }
}

function missingPart(): Part {
  return { state: "missing", from: null, askedAtMs: 0 };
}

function forget(part: Part): void {
  part.state = "missing";
  part.from = null;
}
