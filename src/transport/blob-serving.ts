/**
 * The giving side of `peer-blobs.ts`: answers requests for parts of blobs that are offered, and bounds what a peer can make this
 * miner read, hold and send.
 */
import { failureOf } from "../protocol/failure.ts";
import { hashBytes } from "../protocol/identity.ts";
import type { BlobHash, BlobRef, MinerId } from "../protocol/ids.ts";
import type { BlobPart, BlobRequest } from "../protocol/merge-messages.ts";

/** Small enough that something urgent soon gets in between, large enough that requests cost next to nothing. */
export const maxPartBytes = 512 << 10;

/** Requests of one peer that may wait; whoever asks in good order has a few in flight for each blob that it fetches. */
const maxWaiting = 256;
/** What is lost on the way is sent again, but a peer is sent no more than so many times a blob's bytes. */
const maxServings = 8;

/** Bytes that can be read in parts: in memory, or a file's. */
export interface BlobSource {
  readonly bytes: number;
  /** `length` bytes from `offset` on. Rejects with `FailureError` when they are no longer there. */
  read(offset: number, length: number): Uint8Array | Promise<Uint8Array>;
}

export function memorySource(bytes: Uint8Array): BlobSource {
  return { bytes: bytes.length, read: (offset, length) => bytes.subarray(offset, offset + length) };
}

export interface Offered {
  readonly ref: BlobRef;
  /** Takes the offer back; doing so again changes nothing. */
  withdraw(): void;
}

interface OfferedBlob {
  /**
   * The same bytes may be offered more than once: slices that are all zero are alike. They are read from where they were offered last,
   * and from where they were before when a file there is gone.
   */
  readonly sources: BlobSource[];
  readonly sentBytes: Map<MinerId, number>;
}

export class BlobServing {
  /** Resolves when the link has taken the part: a slow link slows the answers. */
  readonly #send: (to: MinerId, part: BlobPart) => Promise<void>;
  readonly #offered = new Map<BlobHash, OfferedBlob>();
  /** What each peer waits for; the first is being answered. */
  readonly #waiting = new Map<MinerId, BlobRequest[]>();

  constructor(send: (to: MinerId, part: BlobPart) => Promise<void>) {
    this.#send = send;
  }

  get offeredBlobs(): number {
    return this.#offered.size;
  }

  offer(hash: BlobHash, source: BlobSource): Offered {
    const blob: OfferedBlob = this.#offered.get(hash) ?? { sources: [], sentBytes: new Map() };
    blob.sources.push(source);
    this.#offered.set(hash, blob);
    let stands = true;
    return {
      ref: { hash, bytes: source.bytes },
      withdraw: () => {
        if (!stands) return;
        stands = false;
        blob.sources.splice(blob.sources.indexOf(source), 1);
        if (blob.sources.length === 0) this.#offered.delete(hash);
      },
    };
  }

  /** All of what is offered here; null when it is not, or its file is no longer what it was. */
  async read(hash: BlobHash): Promise<Uint8Array | null> {
    const blob = this.#offered.get(hash);
    const bytes = blob && (await readFrom(blob, 0, lengthOf(blob)));
    return bytes && hashBytes(bytes) === hash ? bytes : null;
  }

  /** Answers in turn; a request that is waiting already, or one too many, is passed over: whoever needs it asks again. */
  asked(from: MinerId, request: BlobRequest): void {
    const waiting = this.#waiting.get(from) ?? [];
    if (waiting.length >= maxWaiting || waiting.some((other) => isSame(other, request))) return;
    waiting.push(request);
    this.#waiting.set(from, waiting);
    if (waiting.length === 1) void this.#answerAll(from, waiting);
  }

  async #answerAll(to: MinerId, waiting: BlobRequest[]): Promise<void> {
    for (let request = waiting[0]; request !== undefined; request = waiting[0]) {
      await this.#send(to, await this.#answer(to, request));
      waiting.shift();
    }
    this.#waiting.delete(to);
  }

  async #answer(to: MinerId, { hash, offset, length }: BlobRequest): Promise<BlobPart> {
    const blob = this.#offered.get(hash);
    if (blob === undefined) return { hash, offset, totalBytes: 0, bytes: null };
    const { sentBytes } = blob;
    const totalBytes = lengthOf(blob);
    const partBytes = Math.min(length, totalBytes - offset);
    const sent = (sentBytes.get(to) ?? 0) + partBytes;
    const isInOrder = length <= maxPartBytes && partBytes > 0 && sent <= maxServings * totalBytes;
    if (!isInOrder) return { hash, offset, totalBytes, bytes: null };
    sentBytes.set(to, sent);
    return { hash, offset, totalBytes, bytes: await readFrom(blob, offset, partBytes) };
  }
}

function lengthOf({ sources }: OfferedBlob): number {
  return sources[0]?.bytes ?? 0;
}

async function readFrom({ sources }: OfferedBlob, offset: number, length: number): Promise<Uint8Array | null> {
  for (const source of sources.toReversed()) {
    const bytes = await nullWhenGone(() => source.read(offset, length));
    if (bytes?.length === length) return bytes;
  }
  return null;
}

async function nullWhenGone(read: () => Uint8Array | Promise<Uint8Array>): Promise<Uint8Array | null> {
  try {
    return await read();
  } catch (error) {
    if (failureOf(error) === undefined) throw error;
    return null;
  }
}

function isSame(a: BlobRequest, b: BlobRequest): boolean {
  return a.hash === b.hash && a.offset === b.offset && a.length === b.length;
}
