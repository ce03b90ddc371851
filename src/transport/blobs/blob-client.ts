/**
 * Fetches and stores blobs over HTTP (`docs/protocol.md`, "Blobs"), through a cache on disk. Every blob is checked against
 * its hash; a broken download goes on where it stopped; what may pass is tried again with growing pauses.
 */
import type { Agent as HttpsAgent } from "node:https";
import { setTimeout as pause } from "node:timers/promises";
import { type FailureCode, FailureError, failureOf } from "../../protocol/failure.ts";
import { hashBytes } from "../../protocol/identity.ts";
import type { BlobHash, BlobRef } from "../../protocol/ids.ts";
import type { PartialBlob } from "../blob-parts.ts";
import type { BlobSource } from "../blob-serving.ts";
import type { Traffic } from "../traffic/traffic.ts";
import { BlobCache } from "./blob-cache.ts";
import { checkedBody } from "./checked-body.ts";
import { HttpTransfers, type TransferRequest } from "./http-transfers.ts";
import { PartialDownload } from "./partial-download.ts";

export interface BlobClientOptions {
  /** http:// or https:// address of the gateway. */
  readonly url: string;
  /** Connects where the gateway is not to be known by an authority's certificate. */
  readonly agent?: HttpsAgent | undefined;
  /** The session's token; asked for at every request, because it changes with the session. */
  readonly token: () => string;
  readonly cacheFolder: string;
  readonly maxCacheBytes: number;
  readonly traffic: Traffic;
  /** Pauses before the second, third … attempt. */
  readonly pausesMs?: readonly number[];
  /** A transfer that stands still for so long has failed. */
  readonly stallMs?: number;
}

/** Lies in the cache. */
export interface KeptBlob {
  readonly ref: BlobRef;
  readonly source: BlobSource;
}

export interface HeldBlob extends KeptBlob {
  /** It may be forgotten from now on. Doing so again changes nothing. */
  release(): void;
}

type Answer = Awaited<ReturnType<HttpTransfers["request"]>>;

interface RequestOptions extends Partial<Pick<TransferRequest, "method" | "body">> {
  /** The header. */
  readonly range?: string;
}

interface CallOptions {
  readonly signal?: AbortSignal;
}

interface GetOptions extends CallOptions {
  /**
   * Brings the blob from elsewhere, with its hash checked; tried before the store. What comes is kept as it comes, and whoever brings
   * the blob next, from elsewhere or the store, goes on behind it.
   */
  readonly elsewhere?: (partial: PartialBlob) => Promise<Uint8Array>;
}

export class BlobClient {
  readonly #options: BlobClientOptions;
  readonly #transfers: HttpTransfers;
  readonly #cache: BlobCache;
  /** Downloads under way: two askers share one, and never write one file twice at once. */
  readonly #downloads = new Map<BlobHash, Promise<Uint8Array | null>>();
  /** What is on its way to the store; the same blob may be so twice. */
  readonly #uploads = new Set<{ readonly hash: BlobHash }>();

  constructor(options: BlobClientOptions) {
    this.#options = options;
    this.#transfers = new HttpTransfers(options.url, options.traffic, options.stallMs ?? 30_000, options.agent);
    this.#cache = new BlobCache(options.cacheFolder, options.maxCacheBytes);
  }

  /** Rejects with `FailureError`: blob-not-found, blob-corrupt, not-authorised, unreachable, disk-full, file-unreadable, cancelled. */
  async get(ref: BlobRef, { signal, elsewhere }: GetOptions = {}): Promise<Uint8Array> {
    for (;;) {
      const cached = await this.#cache.read(ref);
      if (cached !== null) return cached;
      const underWay = this.#downloads.get(ref.hash);
      if (underWay !== undefined) {
        await underWay.catch(() => undefined); // its failure is its asker's; this one tries by itself
        throwIfCancelled(signal);
        continue;
      }
      const download = this.#bring(ref, signal, elsewhere);
      this.#downloads.set(ref.hash, download);
      const brought = await download.finally(() => this.#downloads.delete(ref.hash));
      if (brought !== null) return brought;
    }
  }

  /** Null: it is in the cache. */
  async #bring(ref: BlobRef, signal: AbortSignal | undefined, elsewhere: GetOptions["elsewhere"]) {
    await this.#cache.makeRoom(this.#isInUse);
    const brought = elsewhere === undefined ? null : await this.#bringFrom(ref, signal, elsewhere);
    if (brought === null) await this.#retrying(signal, () => this.#download(ref, signal));
    return brought;
  }

  /** Null: it is not to be had there. */
  async #bringFrom(ref: BlobRef, signal: AbortSignal | undefined, elsewhere: NonNullable<GetOptions["elsewhere"]>) {
    const partial = new PartialDownload(this.#cache, ref);
    try {
      const bytes = await elsewhere(partial);
      await partial.finish(this.#isInUse);
      return bytes;
    } catch (error) {
      await partial.written();
      throwIfCancelled(signal);
      if (failureOf(error) === undefined) throw error;
      return null;
    }
  }

  /** How much of it lies in the cache: all of it, or what has been downloaded so far. */
  bytesHere(ref: BlobRef): Promise<number> {
    return this.#cache.bytesHere(ref);
  }

  /** Puts what is at hand into the cache, from where it can be read in parts until it is forgotten. Rejects with disk-full, file-unreadable. */
  keep(bytes: Uint8Array): Promise<KeptBlob> {
    return this.#keep({ hash: hashBytes(bytes), bytes: bytes.length }, bytes);
  }

  /** As `keep`, but until it is released it is not forgotten to make room for others, however large it is. */
  async hold(bytes: Uint8Array): Promise<HeldBlob> {
    const ref = { hash: hashBytes(bytes), bytes: bytes.length };
    const release = this.#cache.hold(ref.hash);
    try {
      return { ...(await this.#keep(ref, bytes)), release };
    } catch (error) {
      release();
      throw error;
    }
  }

  async #keep(ref: BlobRef, bytes: Uint8Array): Promise<KeptBlob> {
    await this.#cache.write(ref, bytes, this.#isInUse);
    const read = (offset: number, length: number) => this.#cache.readPart(ref, offset, length);
    return { ref, source: { bytes: ref.bytes, read } };
  }

  /** What was kept under these names is not needed any more. */
  async forget(hashes: readonly BlobHash[]): Promise<void> {
    for (const hash of hashes) await this.#cache.forget(hash);
  }

  /**
   * Stores a blob, read from `source` while it is sent; sends nothing when the store has it. Rejects as `get`, with message-too-large,
   * and with blob-not-found when the source no longer gives the bytes that have this hash.
   */
  async put(ref: BlobRef, source: BlobSource, { signal }: CallOptions = {}): Promise<void> {
    const upload = { hash: ref.hash };
    this.#uploads.add(upload);
    try {
      await this.#retrying(signal, async () => {
        if (await this.#has(ref, signal)) return;
        const response = await this.#request(ref, { method: "PUT", body: checkedBody(ref, source) }, signal);
        response.resume();
        if (!isFine(response)) throw refusal(response, ref);
      });
    } finally {
      this.#uploads.delete(upload);
    }
  }

  /** What the cache is not to forget. */
  readonly #isInUse = (hash: BlobHash): boolean =>
    this.#downloads.has(hash) || [...this.#uploads].some((upload) => upload.hash === hash);

  async #has(ref: BlobRef, signal: AbortSignal | undefined): Promise<boolean> {
    const response = await this.#request(ref, { method: "HEAD" }, signal);
    response.resume();
    if (!isFine(response) && response.statusCode !== 404) throw refusal(response, ref);
    return isFine(response);
  }

  async #download(ref: BlobRef, signal: AbortSignal | undefined): Promise<void> {
    const offset = await this.#cache.partialBytes(ref);
    const response = await this.#request(ref, offset > 0 ? { range: `bytes=${offset}-` } : {}, signal);
    if (!isFine(response)) {
      response.resume();
      if (response.statusCode === 416) await this.#cache.dropPartial(ref);
      throw refusal(response, ref);
    }
    try {
      // Otherwise the store sends it all, from the beginning.
      const keptBytes = response.statusCode === 206 ? offset : 0;
      if (keptBytes < offset) await this.#cache.dropPartial(ref);
      await this.#keepBody(ref, response, keptBytes);
    } finally {
      response.destroy();
    }
    await this.#cache.finish(ref, this.#isInUse);
  }

  /** `offset`: where in the blob the body begins. */
  async #keepBody(ref: BlobRef, response: Answer, offset: number): Promise<void> {
    // An empty blob has no chunk that would create its file.
    if (ref.bytes === 0) await this.#cache.append(ref, new Uint8Array(0));
    for await (const chunk of this.#transfers.chunks(response)) {
      offset += chunk.length;
      if (offset > ref.bytes) {
        await this.#cache.dropPartial(ref);
        throw new FailureError("blob-corrupt", `the blob ${ref.hash} is longer than ${ref.bytes} bytes`, {
          retry: true,
        });
      }
      await this.#cache.append(ref, chunk);
    }
    if (offset < ref.bytes) throw new FailureError("unreachable", "a download was cut short", { retry: true });
  }

  async #request(
    ref: BlobRef,
    { method = "GET", body, range }: RequestOptions,
    signal: AbortSignal | undefined,
  ): Promise<Answer> {
    const headers = () => ({ ...(range && { range }), authorization: `Bearer ${this.#options.token()}` });
    try {
      return await this.#transfers.request(`/blobs/${ref.hash}`, { method, ...(body && { body }), headers, signal });
    } catch (cause) {
      throwIfCancelled(signal);
      throw cause;
    }
  }

  /** A full store, and a busy gateway, are waited for until the caller gives up: what is to pass is no less needed then. */
  async #retrying(signal: AbortSignal | undefined, attempt: () => Promise<void>): Promise<void> {
    const pausesMs = this.#options.pausesMs ?? [200, 500, 1000, 2000, 5000];
    for (let tries = 0; ; tries++) {
      throwIfCancelled(signal);
      try {
        return await attempt();
      } catch (error) {
        throwIfCancelled(signal);
        const failure = failureOf(error);
        if (failure === undefined || !failure.retry) throw error;
        const isWaitedFor = failure.code === "disk-full" || error instanceof BusyError;
        const nextMs = pausesMs[isWaitedFor ? Math.min(tries, pausesMs.length - 1) : tries];
        if (nextMs === undefined) throw error;
        // It may say that there is no need to wait, and say so again and again.
        const pauseMs = error instanceof BusyError ? Math.max(nextMs, error.afterMs * (1 + Math.random())) : nextMs;
        await pause(pauseMs, undefined, { signal }).catch(() => throwIfCancelled(signal));
      }
    }
  }
}

const refusals: Readonly<Record<number, FailureCode>> = {
  401: "not-authorised",
  403: "not-authorised",
  404: "blob-not-found",
  413: "message-too-large",
  422: "blob-corrupt",
  507: "disk-full",
};

const passing: readonly (FailureCode | undefined)[] = [undefined, "blob-corrupt", "disk-full"];

const mostAfterMs = 60_000;

/** The gateway has too much to do with this address. */
class BusyError extends FailureError {
  /** When to come again. */
  readonly afterMs: number;

  constructor(message: string, retryAfter: string | undefined) {
    super("too-many-connections", message, { retry: true });
    const seconds = /^\d{1,5}$/.test(retryAfter ?? "") ? Number(retryAfter) : 2;
    this.afterMs = Math.min(1000 * seconds, mostAfterMs);
  }
}

function isFine({ statusCode = 0 }: Answer): boolean {
  return statusCode >= 200 && statusCode < 300;
}

function refusal({ statusCode = 0, headers }: Answer, ref: BlobRef): FailureError {
  const message = `the blob store answered ${statusCode} for ${ref.hash}`;
  if (statusCode === 429) return new BusyError(message, headers["retry-after"]);
  const code = refusals[statusCode];
  return new FailureError(code ?? "unreachable", message, { retry: passing.includes(code) });
}

function throwIfCancelled(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new FailureError("cancelled", "the transfer was cancelled");
}
